// How long machines took to register.
#include <algorithm>
#include <vector>

#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/boots.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

constexpr uint32_t kMachinesDefault = 100;

admin::v1::RegistrationTimes TimesOf(std::vector<absl::Duration> took) {
  admin::v1::RegistrationTimes times;
  if (took.empty()) return times;
  std::sort(took.begin(), took.end());
  times.set_count(took.size());
  *times.mutable_p50() = ToProto(RankOf(took, 0.5));
  *times.mutable_p90() = ToProto(RankOf(took, 0.9));
  *times.mutable_p95() = ToProto(RankOf(took, 0.95));
  *times.mutable_p99() = ToProto(RankOf(took, 0.99));
  *times.mutable_max() = ToProto(took.back());
  return times;
}

// Of the boots that were registered since then; `took` of all machines gets theirs too.
admin::v1::MachineRegistrations RegistrationsOf(const storage::v1::Machine& machine,
                                                absl::Time since,
                                                std::vector<absl::Duration>* took) {
  admin::v1::MachineRegistrations shown;
  shown.set_machine_id(machine.machine_id());
  shown.set_name(NameOf(machine));
  if (const absl::optional<absl::Time> waits = WaitsSince(machine))
    *shown.mutable_waits_since() = ToProto(*waits);
  std::vector<absl::Duration> mine;
  for (const storage::v1::Boot& boot : machine.boots()) {
    if (FromProto(boot.registered()) < since) continue;
    mine.push_back(TookOf(boot));
    admin::v1::Boot& one = *shown.add_boots();
    *one.mutable_powered_on() = boot.powered_on();
    *one.mutable_registered() = boot.registered();
    *one.mutable_took() = ToProto(mine.back());
    one.set_known_by(boot.by_job() ? "job" : "agent");
  }
  took->insert(took->end(), mine.begin(), mine.end());
  *shown.mutable_times() = TimesOf(std::move(mine));
  return shown;
}

bool IsShownBefore(const admin::v1::MachineRegistrations& a,
                   const admin::v1::MachineRegistrations& b) {
  if (a.has_waits_since() != b.has_waits_since()) return a.has_waits_since();
  if (a.boots().empty() || b.boots().empty()) return a.boots_size() > b.boots_size();
  return FromProto(a.boots().rbegin()->took()) > FromProto(b.boots().rbegin()->took());
}

}  // namespace

absl::Status Operations::ListRegistrations(const admin::v1::ListRegistrationsRequest& request,
                                           admin::v1::ListRegistrationsResponse* response) const {
  std::string machine_id;
  if (!request.machine().empty()) {
    HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
    machine_id = machine.machine_id();
  }
  const View view = brain_.MakeView();
  const absl::Time since =
      request.has_within() ? view.clock.Now() - FromProto(request.within()) : absl::InfinitePast();
  std::vector<absl::Duration> took;
  std::vector<admin::v1::MachineRegistrations> machines;
  for (const storage::v1::Machine& machine : view.machines) {
    if (!machine_id.empty() && machine.machine_id() != machine_id) continue;
    admin::v1::MachineRegistrations shown = RegistrationsOf(machine, since, &took);
    if (!shown.boots().empty() || shown.has_waits_since()) machines.push_back(std::move(shown));
  }
  std::stable_sort(machines.begin(), machines.end(), IsShownBefore);
  response->set_machines_total(machines.size());
  const size_t count_max = request.count_max() == 0 ? kMachinesDefault : request.count_max();
  if (machines.size() > count_max) machines.resize(count_max);
  for (admin::v1::MachineRegistrations& machine : machines)
    *response->add_machines() = std::move(machine);
  for (const BootBucket& bucket : HistogramOf(took)) {
    admin::v1::RegistrationBucket& shown = *response->add_histogram();
    if (bucket.limit.has_value()) *shown.mutable_limit() = ToProto(*bucket.limit);
    shown.set_count(bucket.count);
  }
  *response->mutable_all() = TimesOf(std::move(took));
  return absl::OkStatus();
}

}  // namespace homeward
