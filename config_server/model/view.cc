#include "config_server/model/view.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/problem/problem.h"

namespace homeward {
namespace {

constexpr size_t kShownIdBytes = 8;

}  // namespace

bool IsCalled(const std::string& text, const std::string& id, const std::string& name) {
  return text == name || text == id || (text.size() >= kShownIdBytes && absl::StartsWith(id, text));
}

const storage::v1::Server* View::FindServer(const std::string& host_id,
                                            types::v1::ServerRole role) const {
  for (const storage::v1::Server& server : servers) {
    if (server.role() == role && server.host_id() == host_id) return &server;
  }
  return nullptr;
}

View::MeantServer View::ServerCalled(const std::string& id_or_name,
                                     absl::Span<const types::v1::ServerRole> roles) const {
  for (const types::v1::ServerRole role : roles) {
    if (const storage::v1::Server* const server = FindServer(id_or_name, role))
      return {server, std::nullopt, absl::StatusCode::kOk};
  }
  std::vector<const storage::v1::Server*> found;
  for (const storage::v1::Server& server : servers) {
    if (absl::c_linear_search(roles, server.role()) &&
        IsCalled(id_or_name, server.host_id(), server.registration().name()))
      found.push_back(&server);
  }
  if (found.size() == 1) return {found.front(), std::nullopt, absl::StatusCode::kOk};
  const auto word = [](types::v1::ServerRole role) {
    return role == types::v1::PROCESS_SERVER ? "process server" : "master target";
  };
  const std::string what = roles.size() == 1 ? word(roles.front()) : "server";
  if (found.empty()) {
    return {nullptr,
            MakeProblem(ProblemId::kServerNotInDatabase,
                        absl::StrCat("there is no ", what, " \"", id_or_name, "\"")),
            absl::StatusCode::kNotFound};
  }
  const auto describe = [&](std::string* out, const storage::v1::Server* server) {
    absl::StrAppend(out, word(server->role()), " ", server->host_id());
  };
  return {nullptr,
          MakeProblem(ProblemId::kAmbiguousName,
                      absl::StrCat(found.size(), " servers are called \"", id_or_name,
                                   "\": ", absl::StrJoin(found, ", ", describe))),
          absl::StatusCode::kInvalidArgument};
}

View::MeantMachine View::MachineCalled(const std::string& id_or_name) const {
  std::vector<const storage::v1::Machine*> found;
  for (const storage::v1::Machine& machine : machines) {
    if (machine.machine_id() == id_or_name) return {&machine, std::nullopt, absl::StatusCode::kOk};
    if (IsCalled(id_or_name, machine.machine_id(), machine.registration().name()))
      found.push_back(&machine);
  }
  if (found.size() == 1) return {found.front(), std::nullopt, absl::StatusCode::kOk};
  if (found.empty()) {
    return {nullptr,
            MakeProblem(ProblemId::kNotInDatabase,
                        absl::StrCat("there is no machine \"", id_or_name, "\"")),
            absl::StatusCode::kNotFound};
  }
  const auto id = [](std::string* out, const storage::v1::Machine* machine) {
    absl::StrAppend(out, machine->machine_id());
  };
  return {nullptr,
          MakeProblem(ProblemId::kAmbiguousName,
                      absl::StrCat(found.size(), " machines are called \"", id_or_name,
                                   "\": ", absl::StrJoin(found, ", ", id))),
          absl::StatusCode::kInvalidArgument};
}

std::string View::MachineName(const std::string& machine_id) const {
  const MeantMachine meant = MachineCalled(machine_id);
  return meant.machine == nullptr ? machine_id : NameOf(*meant.machine);
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
      fleet.heartbeat(machine.assignment().placement().master_target_id());
  if (heartbeat == nullptr) return nullptr;
  const auto& replicas = heartbeat->has_process_server() ? heartbeat->process_server().replicas()
                                                         : heartbeat->master_target().replicas();
  for (const control::v1::ReplicaObserved& replica : replicas) {
    if (replica.replica_id() == machine.assignment().replica_id()) return &replica;
  }
  return nullptr;
}

uint64_t View::NewestGeneration(const storage::v1::Machine& machine) const {
  const control::v1::ReplicaObserved* const replica = ReplicaOf(machine);
  return std::max(machine.generation(), replica == nullptr ? 0 : replica->held_generation());
}

const control::v1::RelayObserved* View::RelayOf(const storage::v1::Machine& machine) const {
  const control::v1::Heartbeat* const heartbeat =
      fleet.heartbeat(machine.assignment().placement().process_server_id());
  if (heartbeat == nullptr) return nullptr;
  for (const control::v1::RelayObserved& relay : heartbeat->process_server().streams()) {
    if (relay.machine_id() == machine.machine_id() && relay.generation() == machine.generation())
      return &relay;
  }
  return nullptr;
}

const storage::v1::Server* View::ReceiverOf(const storage::v1::Machine& machine) const {
  const std::string& id = machine.assignment().placement().master_target_id();
  const auto found = absl::c_find_if(
      servers, [&](const storage::v1::Server& server) { return server.host_id() == id; });
  return id.empty() || found == servers.end() ? nullptr : &*found;
}

const char* View::ReceiverWord(const storage::v1::Machine& machine) const {
  const storage::v1::Server* const receiver = ReceiverOf(machine);
  return receiver != nullptr && receiver->role() == types::v1::PROCESS_SERVER ? "the process server"
                                                                              : "the master target";
}

bool RegisteredSinceBoot(const storage::v1::Machine& machine) {
  return !machine.has_handed_back_at() || machine.has_registered_at();
}

bool View::AgentConnected(const storage::v1::Machine& machine) const {
  return RegisteredSinceBoot(machine) && fleet.connected(machine.machine_id());
}

}  // namespace homeward
