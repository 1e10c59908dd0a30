#include "config_server/model/data_keys.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/stream_position.h"
#include "common/cipher/payload_cipher.h"
#include "config_server/model/location_rules.h"

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

bool Encrypts(const Server* server) {
  return server != nullptr && server->registration().encrypts_streams();
}

}  // namespace

bool AllEncrypt(const Machine& machine, const Server* relay, const Server* receiver) {
  const bool has_relay = !machine.assignment().placement().process_server_id().empty();
  return machine.registration().encrypts_streams() && Encrypts(receiver) &&
         (!has_relay || Encrypts(relay));
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
    const auto server = std::find_if(view.servers.begin(), view.servers.end(),
                                     [&](const Server& one) { return one.host_id() == host_id; });
    if (server == view.servers.end()) return older("the server", host_id);
    if (!Encrypts(&*server)) return older("the server", server->registration().name());
  }
  return std::nullopt;
}

void BeginGeneration(const View& view, Machine* machine) {
  machine->set_generation(machine->generation() + 1);
  if (!machine->has_assignment()) return;
  Assignment& assignment = *machine->mutable_assignment();
  assignment.clear_data_keys();
  assignment.clear_refuses_plain();
  if (!view.settings.encrypt_streams && !machine->encrypts_stream()) return;
  if (CheckEncrypts(view, *machine)) return;
  AddDataKey(machine);
  assignment.set_refuses_plain(true);
}

void AddDataKey(Machine* machine) {
  *machine->mutable_assignment()->add_data_keys() = NewDataKey();
}

bool EndOldDataKeys(const View& view, Machine* machine) {
  Assignment& assignment = *machine->mutable_assignment();
  if (assignment.data_keys().empty()) return true;
  const control::v1::AgentObserved* const agent = view.AgentOf(*machine);
  const control::v1::ReplicaObserved* const replica = view.ReplicaOf(*machine);
  const types::v1::DataKey newest = *assignment.data_keys().rbegin();
  if (agent == nullptr || replica == nullptr || agent->data_key_id() != newest.id()) return false;
  const StreamPosition from = PositionOf(agent->data_key_from());
  // The stream is in order: what was encrypted before is durable.
  if (from.none() || PositionOf(replica->position()) < from) return false;
  assignment.clear_data_keys();
  *assignment.add_data_keys() = newest;
  assignment.set_refuses_plain(true);
  return true;
}

}  // namespace homeward
