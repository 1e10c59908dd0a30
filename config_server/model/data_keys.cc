#include "config_server/model/data_keys.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "common/base/stream_position.h"
#include "common/cipher/payload_cipher.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/placement.h"

namespace homeward {
namespace {

using storage::v1::Assignment;
using storage::v1::Machine;
using storage::v1::Server;

types::v1::DataKey NewDataKey() {
  types::v1::DataKey key;
  uint64_t id = 0;
  while (id == 0) SystemRandomBytes(MutableBytes(reinterpret_cast<uint8_t*>(&id), sizeof(id)));
  key.set_id(id);
  key.mutable_secret()->resize(kDataKeyBytes);
  SystemRandomBytes(Writable(key.mutable_secret()));
  return key;
}

StreamPosition PositionOf(const replication::v1::Position& position) {
  return {position.epoch(), position.sequence()};
}

const Server* ServerOf(const View& view, const std::string& host_id) {
  const auto found =
      absl::c_find_if(view.servers, [&](const Server& one) { return one.host_id() == host_id; });
  return found == view.servers.end() ? nullptr : &*found;
}

// Whether somebody said so, of all machines or of this one.
bool IsAskedFor(const View& view, const Machine& machine) {
  return machine.encrypts_stream() || view.settings.encrypt_streams.value_or(false);
}

// Whether nobody has to say so: a process server takes the stream, and it costs less so. An older
// agent leaves compression to the process server, which cannot compress what is encrypted; an older
// process server takes what ends there over TLS, where it is encrypted once more.
bool IsDefault(const View& view, const Machine& machine) {
  const Server* const server = ServerOf(view, ProcessServerOf(machine));
  if (server == nullptr || !machine.registration().compresses_encrypted()) return false;
  return RulesOf(machine).has_relay() ? server->registration().compresses_encrypted()
                                      : server->registration().ends_unchecked();
}

bool IsWanted(const View& view, const Machine& machine) {
  return machine.encrypts_stream() ||
         view.settings.encrypt_streams.value_or(IsDefault(view, machine));
}

}  // namespace

bool Encrypts(const Server* server) {
  return server != nullptr && server->registration().encrypts_streams();
}

bool EndsEncrypt(const Machine& machine, const Server* receiver) {
  return machine.registration().encrypts_streams() && Encrypts(receiver);
}

Refusal CheckEncrypts(const View& view, const Machine& machine) {
  const storage::v1::Placement& placement = machine.assignment().placement();
  const auto older = [&](absl::string_view what, const std::string& name) {
    return MakeProblem(ProblemId::kCannotEncrypt,
                       absl::StrCat(what, " ", name, " of ", NameOf(machine),
                                    "'s stream is of a version that knows no encrypted batches"));
  };
  if (!machine.registration().encrypts_streams()) return older("the agent", NameOf(machine));
  for (const std::string& host_id : {placement.process_server_id(), placement.master_target_id()}) {
    if (host_id.empty()) continue;
    const Server* const server = ServerOf(view, host_id);
    if (server == nullptr) return older("the server", host_id);
    if (!Encrypts(server)) return older("the server", server->registration().name());
  }
  return std::nullopt;
}

Refusal CheckPassesOn(const View& view, const Machine& machine) {
  const std::string& server = machine.assignment().placement().process_server_id();
  const bool encrypted =
      machine.assignment().data_key_id() != 0 &&
      EndsEncrypt(machine, ServerOf(view, machine.assignment().placement().master_target_id()));
  if (!encrypted || server.empty() || Encrypts(ServerOf(view, server))) return std::nullopt;
  return CheckEncrypts(view, machine);
}

void JudgeEncryption(const View& view, const Machine& machine,
                     std::vector<types::v1::HealthIssue>* issues) {
  const uint64_t key = machine.assignment().data_key_id();
  if (!machine.has_assignment() || !machine.assignment().state().streaming()) return;
  if (key == 0 && !IsAskedFor(view, machine)) return;
  if (Refusal refusal = CheckEncrypts(view, machine)) {
    const Server* const receiver =
        ServerOf(view, machine.assignment().placement().master_target_id());
    const bool stopped = key != 0 && EndsEncrypt(machine, receiver);
    issues->push_back(
        IssueOf(stopped ? types::v1::CRITICAL : types::v1::WARNING, *std::move(refusal)));
  } else if (key == 0) {
    issues->push_back(MakeIssue(
        types::v1::WARNING, ProblemId::kNotEncrypted,
        absl::StrCat("the stream of ", NameOf(machine), " is to be encrypted, and is not yet")));
  }
}

void BeginGeneration(const View& view, Machine* machine) {
  machine->set_generation(view.NewestGeneration(*machine) + 1);
  if (!machine->has_assignment()) return;
  Assignment& assignment = *machine->mutable_assignment();
  assignment.clear_data_keys();
  assignment.clear_refuses_plain();
  assignment.clear_data_key_id();
  if (!IsWanted(view, *machine)) return;
  if (CheckEncrypts(view, *machine)) return;
  AddDataKey(machine);
  // Both ends are told of the generation and of its key at once.
  assignment.set_data_key_id(assignment.data_keys(0).id());
  assignment.set_refuses_plain(true);
}

void AddDataKey(Machine* machine) {
  *machine->mutable_assignment()->add_data_keys() = NewDataKey();
}

bool UseNewestDataKey(const View& view, Machine* machine) {
  Assignment& assignment = *machine->mutable_assignment();
  if (assignment.data_keys().empty()) return true;
  const uint64_t newest = assignment.data_keys().rbegin()->id();
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*machine);
  if (replica == nullptr || !absl::c_linear_search(replica->data_key_ids(), newest)) return false;
  assignment.set_data_key_id(newest);
  return true;
}

void DropUnusedDataKeys(Machine* machine) {
  auto& keys = *machine->mutable_assignment()->mutable_data_keys();
  while (!keys.empty() && keys.rbegin()->id() != machine->assignment().data_key_id())
    keys.RemoveLast();
}

bool EndOldDataKeys(const View& view, Machine* machine) {
  Assignment& assignment = *machine->mutable_assignment();
  if (assignment.data_keys().empty()) return true;
  const control::v1::AgentObserved* const agent = view.AgentOf(*machine);
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*machine);
  const types::v1::DataKey newest = *assignment.data_keys().rbegin();
  if (agent == nullptr || replica == nullptr || agent->data_key_id() != newest.id() ||
      agent->generation() != machine->generation())
    return false;
  const StreamPosition from = PositionOf(agent->data_key_from());
  // The stream is in order: what was encrypted before is durable.
  if (from.none() || PositionOf(replica->position()) < from) return false;
  assignment.clear_data_keys();
  *assignment.add_data_keys() = newest;
  assignment.set_refuses_plain(true);
  return true;
}

}  // namespace homeward
