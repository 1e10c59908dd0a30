#include "config_server/store/records.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/check.h"
#include "common/log/log.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using storage::v1::Job;
using storage::v1::Machine;
using storage::v1::Server;

constexpr uint64_t kEventsMax = 10000;

std::string EventKey(uint64_t number) { return absl::StrFormat("%016d", number); }

const std::string& IdOf(const Machine& machine) { return machine.machine_id(); }
const std::string& IdOf(const Server& server) { return server.host_id(); }

template <typename Vector>
auto LowerBound(Vector& records, absl::string_view id) {
  return std::lower_bound(
      records.begin(), records.end(), id,
      [](const auto& record, absl::string_view wanted) { return IdOf(record) < wanted; });
}

template <typename Record>
const Record* Find(const std::vector<Record>& records, absl::string_view id) {
  const auto it = LowerBound(records, id);
  return it == records.end() || IdOf(*it) != id ? nullptr : &*it;
}

// True: the change is one of a record of this type, and `records` has it.
template <typename Record>
bool Take(const Store::Transaction::Change& change, std::vector<Record>* records,
          std::set<std::string>* changed) {
  absl::string_view id = change.first;
  if (!absl::ConsumePrefix(&id, RecordKind<Record>::kPrefix) || !absl::ConsumePrefix(&id, "/"))
    return false;
  changed->emplace(id);
  const auto it = LowerBound(*records, id);
  const bool known = it != records->end() && IdOf(*it) == id;
  if (!change.second.has_value()) {
    if (known) records->erase(it);
    return true;
  }
  Record record;
  HW_CHECK(record.ParseFromString(*change.second));
  if (known) {
    *it = std::move(record);
  } else {
    records->insert(it, std::move(record));
  }
  return true;
}

}  // namespace

Records::Records(const Clock& clock, std::unique_ptr<Store> store)
    : clock_(clock),
      store_(std::move(store)),
      machines_(store_->All<Machine>()),
      servers_(store_->All<Server>()) {
  for (const Machine& machine : machines_) changes_.machines.insert(machine.machine_id());
  for (const Server& server : servers_) changes_.servers.insert(server.host_id());
  for (const Job& job : store_->All<Job>()) {
    if (job.state() == storage::v1::RUNNING) running_jobs_.insert(job.id());
  }
  store_->Watch([this](const Store::Transaction& transaction) { Follow(transaction); });
}

const Machine* Records::FindMachine(absl::string_view machine_id) const {
  return Find(machines_, machine_id);
}

const Server* Records::FindServer(absl::string_view host_id) const {
  return Find(servers_, host_id);
}

Records::Changes Records::TakeChanges() { return std::exchange(changes_, Changes()); }

void Records::Follow(const Store::Transaction& transaction) {
  for (const Store::Transaction::Change& change : transaction.changes()) {
    if (Take(change, &machines_, &changes_.machines)) continue;
    if (Take(change, &servers_, &changes_.servers)) continue;
    absl::string_view id = change.first;
    if (!absl::ConsumePrefix(&id, RecordKind<Job>::kPrefix) || !absl::ConsumePrefix(&id, "/"))
      continue;
    Job job;
    const bool runs = change.second.has_value() && job.ParseFromString(*change.second) &&
                      job.state() == storage::v1::RUNNING;
    if (runs) {
      running_jobs_.emplace(id);
    } else {
      running_jobs_.erase(std::string(id));
    }
  }
}

void Records::Commit(const Store::Transaction& transaction) {
  const absl::Status committed = store_->Commit(transaction);
  if (!committed.ok()) LogError("store.failed", {{"error", committed}});
  HW_CHECK(committed.ok());
}

void Records::Together(const std::function<void()>& commits) {
  const absl::Status synced = store_->Together(commits);
  if (!synced.ok()) LogError("store.failed", {{"error", synced}});
  HW_CHECK(synced.ok());
}

void Records::PutEvent(Store::Transaction* transaction, storage::v1::Event event,
                       uint64_t forgotten_generation) {
  std::optional<storage::v1::Meta> meta = store_->Get<storage::v1::Meta>(Store::kOnly);
  HW_CHECK(meta.has_value());
  *event.mutable_time() = ToProto(clock_.Now());
  const uint64_t number = meta->next_event();
  meta->set_next_event(number + 1);
  meta->set_forgotten_generation(std::max(meta->forgotten_generation(), forgotten_generation));
  transaction->Put(EventKey(number), event);
  if (number > kEventsMax) transaction->Remove<storage::v1::Event>(EventKey(number - kEventsMax));
  transaction->Put(Store::kOnly, *meta);
  LogInfo(event.name(),
          {{"machine", event.machine_id()}, {"job", event.job_id()}, {"text", event.text()}});
}

void Records::AddEvent(const std::string& name, const std::string& machine_id,
                       const std::string& job_id, const std::string& text) {
  storage::v1::Event event;
  event.set_name(name);
  event.set_machine_id(machine_id);
  event.set_job_id(job_id);
  event.set_text(text);
  Store::Transaction transaction;
  PutEvent(&transaction, std::move(event));
  Commit(transaction);
}

}  // namespace homeward
