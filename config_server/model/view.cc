#include "config_server/model/view.h"

namespace homeward {

const storage::v1::Server* View::FindServer(const std::string& id_or_name,
                                            types::v1::ServerRole role) const {
  for (const storage::v1::Server& server : servers) {
    if (server.role() == role &&
        (server.host_id() == id_or_name || server.registration().name() == id_or_name)) {
      return &server;
    }
  }
  return nullptr;
}

const control::v1::AgentObserved* View::AgentOf(const storage::v1::Machine& machine) const {
  const control::v1::Heartbeat* const heartbeat = fleet.heartbeat(machine.machine_id());
  if (heartbeat == nullptr || !heartbeat->has_agent()) return nullptr;
  const control::v1::AgentObserved& agent = heartbeat->agent();
  if (agent.generation() != machine.generation() ||
      agent.replica_id() != machine.assignment().replica_id()) {
    return nullptr;
  }
  return &agent;
}

const control::v1::ReplicaObserved* View::ReplicaOf(const storage::v1::Machine& machine) const {
  const control::v1::Heartbeat* const heartbeat =
      fleet.heartbeat(machine.assignment().master_target_id());
  if (heartbeat == nullptr) return nullptr;
  for (const control::v1::ReplicaObserved& replica : heartbeat->master_target().replicas()) {
    if (replica.replica_id() == machine.assignment().replica_id()) return &replica;
  }
  return nullptr;
}

const control::v1::RelayObserved* View::RelayOf(const storage::v1::Machine& machine) const {
  const control::v1::Heartbeat* const heartbeat =
      fleet.heartbeat(machine.assignment().process_server_id());
  if (heartbeat == nullptr) return nullptr;
  for (const control::v1::RelayObserved& relay : heartbeat->process_server().streams()) {
    if (relay.machine_id() == machine.machine_id() && relay.generation() == machine.generation())
      return &relay;
  }
  return nullptr;
}

bool View::RegisteredSinceBoot(const storage::v1::Machine& machine) const {
  return !machine.has_handed_back_at() || machine.has_registered_at();
}

bool View::AgentConnected(const storage::v1::Machine& machine) const {
  return RegisteredSinceBoot(machine) && fleet.connected(machine.machine_id());
}

}  // namespace homeward
