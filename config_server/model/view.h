// View: what rules and workflows look at: records, and what the components said last.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VIEW_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VIEW_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "common/base/limits.h"
#include "common/clock/clock.h"
#include "config_server/model/cloud_state.h"
#include "config_server/model/fleet_state.h"
#include "config_server/model/vcenter_state.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

struct Settings {
  absl::Duration heartbeat_interval = absl::Seconds(10);
  absl::Duration heartbeat_timeout = kHeartbeatTimeoutDefault;
  absl::Duration registration_window = kRegistrationWindowDefault;
  absl::Duration certificate_validity = absl::Hours(24 * 30);
  absl::Duration rpo_threshold = kRpoThresholdDefault;
  // Of machines whose next generation begins. Absent: where somebody passes the stream on.
  absl::optional<bool> encrypt_streams;
};

// Whether an operator who writes `text` means it: its name, its id, or the beginning of that, as
// tables show it.
bool IsCalled(const std::string& text, const std::string& id, const std::string& name);

// What operators call the machine.
inline const std::string& NameOf(const storage::v1::Machine& machine) {
  return machine.registration().name();
}

// The agent registered after the machine was handed back.
bool RegisteredSinceBoot(const storage::v1::Machine& machine);

// Valid on the strand until a record changes.
struct View {
  const FleetState& fleet;
  const Clock& clock;
  const Settings& settings;
  absl::Span<const storage::v1::Server> servers;    // by their ids
  absl::Span<const storage::v1::Machine> machines;  // by their ids
  std::map<std::string, VcenterState> vcenters;     // by the names of their records
  std::map<std::string, CloudState> clouds = {};    // by the names of their sites

  const storage::v1::Server* FindServer(const std::string& host_id,
                                        types::v1::ServerRole role) const;
  struct MeantServer {
    const storage::v1::Server* server = nullptr;
    std::optional<types::v1::Problem> refusal;
    // NOT_FOUND: none is called so. INVALID_ARGUMENT: several are.
    absl::StatusCode code = absl::StatusCode::kOk;
  };
  // By its id, or by what no other server of these roles is called (IsCalled).
  MeantServer ServerCalled(const std::string& id_or_name,
                           absl::Span<const types::v1::ServerRole> roles) const;
  struct MeantMachine {
    const storage::v1::Machine* machine = nullptr;
    std::optional<types::v1::Problem> refusal;
    absl::StatusCode code = absl::StatusCode::kOk;  // as in MeantServer
  };
  // By its id, or by what no other machine is called (IsCalled).
  MeantMachine MachineCalled(const std::string& id_or_name) const;
  // What operators call it; its id where it is forgotten.
  std::string MachineName(const std::string& machine_id) const;
  // Null while the component has not been heard, or speaks of another replica or generation.
  const control::v1::AgentObserved* AgentOf(const storage::v1::Machine& machine) const;
  const control::v1::ReplicaObserved* ReplicaOf(const storage::v1::Machine& machine) const;
  // Of the machine, or what its replica knows of, if that is newer: then this server has forgotten
  // something.
  uint64_t NewestGeneration(const storage::v1::Machine& machine) const;
  const control::v1::RelayObserved* RelayOf(const storage::v1::Machine& machine) const;
  // What takes the machine's stream to its end: a master target, or a process server. Null: there
  // is none.
  const storage::v1::Server* ReceiverOf(const storage::v1::Machine& machine) const;
  // For people: "the master target".
  const char* ReceiverWord(const storage::v1::Machine& machine) const;
  bool AgentConnected(const storage::v1::Machine& machine) const;
  // Of FleetState, now.
  bool Alive(const std::string& host_id) const { return fleet.alive(host_id, clock.Monotonic()); }
  std::vector<RefusedCopy> RefusedCopies(const storage::v1::Machine& machine) const {
    return fleet.RefusedCopies(machine.machine_id(), clock.Monotonic());
  }
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VIEW_H_
