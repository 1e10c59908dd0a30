#include "config_server/jobs/desired_state.h"

#include "common/replication/target.h"
#include "config_server/model/control_messages.h"
#include "config_server/model/copies.h"
#include "config_server/model/data_keys.h"
#include "config_server/model/location_rules.h"

namespace homeward {
namespace {

using storage::v1::Assignment;
using storage::v1::Machine;
using storage::v1::Server;

const Server* ServerIn(const Records& records, const std::string& host_id,
                       types::v1::ServerRole role) {
  const Server* const server = records.FindServer(host_id);
  return server == nullptr || server->role() != role ? nullptr : server;
}

std::set<std::string> ServersOf(const Machine* machine) {
  std::set<std::string> servers;
  if (machine == nullptr || !machine->has_assignment()) return servers;
  servers.insert(machine->assignment().placement().master_target_id());
  servers.insert(machine->assignment().placement().process_server_id());
  servers.erase("");
  return servers;
}

bool CanEncrypt(const Records& records, const Machine& machine) {
  return EndsEncrypt(machine,
                     records.FindServer(machine.assignment().placement().master_target_id()));
}

control::v1::AgentDesired AgentDesiredOf(const Records& records, const Machine& machine) {
  control::v1::AgentDesired desired;
  const Assignment& assignment = machine.assignment();
  const storage::v1::Placement& placement = assignment.placement();
  const storage::v1::ReplicationState& state = assignment.state();
  if (!machine.has_assignment() || !state.streaming() || !RegisteredSinceBoot(machine))
    return desired;
  // A receiver may be a server of either role.
  const Server* const server =
      placement.process_server_id().empty()
          ? records.FindServer(placement.master_target_id())
          : ServerIn(records, placement.process_server_id(), types::v1::PROCESS_SERVER);
  if (server == nullptr) return desired;
  control::v1::Protection& protection = *desired.mutable_protection();
  protection.set_machine_id(machine.machine_id());
  protection.set_generation(machine.generation());
  protection.set_replica_id(assignment.replica_id());
  protection.set_fence(FenceOf(machine));
  for (const types::v1::Disk& disk : placement.disks()) protection.add_disks(disk.name());
  protection.set_address(server->registration().replication_address());
  protection.set_data_channel_port(server->registration().data_channel_port());
  protection.set_direct(server->role() == types::v1::MASTER_TARGET);
  protection.set_fresh_replica(state.fresh());
  *protection.mutable_point_interval() = assignment.policy().point_interval();
  *protection.mutable_app_point_interval() = assignment.policy().app_point_interval();
  protection.set_resync_token(state.resync_token());
  protection.set_point_token(state.point_token());
  protection.set_point_kind(state.point_kind());
  protection.set_quiesce_token(state.quiesce_token());
  if (assignment.data_key_id() == 0 || !CanEncrypt(records, machine)) return desired;
  for (const types::v1::DataKey& key : assignment.data_keys()) {
    if (key.id() == assignment.data_key_id()) *protection.mutable_data_key() = key;
  }
  // Whoever is to pass it on cannot make it send in the clear by knowing no better.
  if (!Encrypts(server)) protection.clear_address();
  return desired;
}

control::v1::Replica ReplicaDesiredOf(const Records& records, const Machine& machine) {
  const Assignment& assignment = machine.assignment();
  control::v1::Replica replica;
  replica.set_replica_id(assignment.replica_id());
  replica.set_machine_id(machine.machine_id());
  replica.set_generation(machine.generation());
  *replica.mutable_disks() = assignment.placement().disks();
  SetTarget(RulesOf(machine).TargetFor(machine), &replica);
  *replica.mutable_retention_age() = assignment.policy().retention_age();
  replica.set_retention_bytes(assignment.policy().retention_bytes());
  replica.set_phase(ToControl(assignment.state().phase()));
  replica.set_point_id(assignment.state().point_id());
  if (assignment.placement().process_server_id().empty()) replica.set_fence(FenceOf(machine));
  *replica.mutable_data_keys() = assignment.data_keys();
  replica.set_refuses_plain(assignment.refuses_plain() && CanEncrypt(records, machine));
  if (machine.test().holds_point()) replica.set_shown_point_id(machine.test().point_id());
  return replica;
}

control::v1::RelayedStream StreamDesiredOf(const Machine& machine, const Server& target) {
  const Assignment& assignment = machine.assignment();
  control::v1::RelayedStream stream;
  stream.set_machine_id(machine.machine_id());
  stream.set_generation(machine.generation());
  stream.set_replica_id(assignment.replica_id());
  stream.set_fence(FenceOf(machine));
  stream.set_master_target_address(target.registration().replication_address());
  stream.set_data_channel_port(target.registration().data_channel_port());
  for (const types::v1::Disk& disk : assignment.placement().disks())
    stream.add_disk_bytes(disk.size_bytes());
  return stream;
}

}  // namespace

void DesiredState::UpdateAgent(const std::string& machine_id) {
  const Machine* const machine = records_.FindMachine(machine_id);
  if (machine == nullptr) return fleet_.Forget(machine_id);
  control::v1::Desired desired;
  *desired.mutable_agent() = AgentDesiredOf(records_, *machine);
  const control::v1::CommonPoint* const common = common_points_.WantedOf(machine_id);
  if (common != nullptr && desired.agent().has_protection())
    *desired.mutable_agent()->mutable_protection()->mutable_common_point() = *common;
  fleet_.Want(machine_id, desired);
}

void DesiredState::UpdateServer(const std::string& host_id) {
  const Server* const server = records_.FindServer(host_id);
  if (server == nullptr) return fleet_.Forget(host_id);
  control::v1::Desired desired;
  if (server->role() == types::v1::PROCESS_SERVER) {
    desired.mutable_process_server();
  } else {
    desired.mutable_master_target();
  }
  for (const std::string& machine_id : machines_of_[host_id]) {
    const Machine& machine = *records_.FindMachine(machine_id);
    const Assignment& assignment = machine.assignment();
    const Server* const target = records_.FindServer(assignment.placement().master_target_id());
    if (target == nullptr) continue;
    if (target == server) {
      auto& replicas = server->role() == types::v1::PROCESS_SERVER
                           ? *desired.mutable_process_server()->mutable_replicas()
                           : *desired.mutable_master_target()->mutable_replicas();
      *replicas.Add() = ReplicaDesiredOf(records_, machine);
    }
    if (assignment.state().streaming() && assignment.placement().process_server_id() == host_id)
      *desired.mutable_process_server()->add_streams() = StreamDesiredOf(machine, *target);
  }
  fleet_.Want(host_id, desired);
}

void DesiredState::Update(const Records::Changes& changes) {
  Ids machines = changes.machines, servers = changes.servers;
  // Where a server takes streams, its machines and the servers before it are told too.
  for (const std::string& host_id : changes.servers)
    machines.insert(machines_of_[host_id].begin(), machines_of_[host_id].end());
  for (const std::string& machine_id : machines) {
    Ids& assigned = servers_of_[machine_id];
    for (const std::string& host_id : assigned) machines_of_[host_id].erase(machine_id);
    servers.insert(assigned.begin(), assigned.end());
    assigned = ServersOf(records_.FindMachine(machine_id));
    for (const std::string& host_id : assigned) machines_of_[host_id].insert(machine_id);
    servers.insert(assigned.begin(), assigned.end());
    if (assigned.empty()) servers_of_.erase(machine_id);
    UpdateAgent(machine_id);
  }
  for (const std::string& host_id : servers) UpdateServer(host_id);
}

}  // namespace homeward
