// Rules: what may be done with a machine, and why not. Pure: no I/O, no change.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_RULES_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_RULES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/problem/problem.h"
#include "config_server/model/operation.h"
#include "config_server/model/view.h"

namespace homeward {

using Refusal = std::optional<types::v1::Problem>;

// This boot of a copy of the machine is over: it is not taken for the machine any more.
void Retire(const control::v1::Registration& registration, storage::v1::Machine* machine);

// Whether `operation` may start. Beyond the state: no other job, and the operation's own rules.
Refusal CheckOperation(const View& view, const storage::v1::Machine& machine,
                       storage::v1::Operation operation);
// A machine that booted and whose agent has not registered since, or has no session.
Refusal CheckAgent(const View& view, const storage::v1::Machine& machine);

// What an operator asked for, before it is complete.
struct PlacementWish {
  std::vector<std::string> disks = {};
  std::string process_server = {};
  std::string master_target = {};
  std::string datastore = {};
  std::string directory = {};
  std::vector<std::string> block_devices = {};  // instead of datastore and directory
  // Of a new VM; empty and 0: as it was.
  struct NewVm {
    std::string instance_uuid = {};  // a fresh one
    std::string name = {};
    int32_t cpus = 0;
    int64_t memory_mb = 0;
    std::string firmware = {}, guest_id = {}, network = {};
  } new_vm = {};
  bool remove_snapshots = false;  // of the original VM
  bool hyperv = false;            // always refused
  std::string vm = {};            // which VM the machine is, or was, as an operator names it
  // Nothing: the original VM, where the machine was one and runs elsewhere now.
  std::optional<storage::v1::Location> location = {};
};
// Chooses servers, datastore and disks. On a refusal nothing is chosen.
struct Placement {
  storage::v1::Assignment assignment;
  std::string chosen_vm = {};  // what to record of PlacementWish::vm
  Refusal refusal;
};
Placement Place(const View& view, const storage::v1::Machine& machine, const PlacementWish& wish);

// The newest that is of one instant, or, of an agent that does not say, may be. Null: none is.
const types::v1::RecoveryPoint* NewestInstant(const control::v1::ReplicaObserved& replica);
// The point that "latest", "latest-app-consistent" or an id names. `points` oldest first. One that
// is of no one instant is refused, and is not among those that "latest" means, unless the operator
// accepts it.
struct ChosenPoint {
  types::v1::RecoveryPoint point;
  Refusal refusal;
};
ChosenPoint ChoosePoint(const std::vector<types::v1::RecoveryPoint>& points,
                        const std::string& wish, bool accept_not_one_instant = false);

// What is wrong with a machine's protection now.
std::vector<types::v1::HealthIssue> JudgeMachine(const View& view,
                                                 const storage::v1::Machine& machine);
// "Normal", "Warning" or "Critical".
std::string WorstOf(const std::vector<types::v1::HealthIssue>& issues);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_RULES_H_
