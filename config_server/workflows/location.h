// Location: where a machine's disks come home to, and what must be done there around the
// replication. A datastore directory on a master target now; ESX through vCenter, and Azure, are
// others.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_

#include <optional>
#include <string>

#include "config_server/model/view.h"

namespace homeward {

struct StepResult {
  enum class State { kDone, kWaiting, kFailed } state = State::kDone;
  std::string detail;  // what it waits for
  uint64_t done_bytes = 0, total_bytes = 0;
  std::optional<types::v1::Problem> problem;

  static StepResult Done() { return {}; }
  static StepResult Wait(std::string detail) {
    return {State::kWaiting, std::move(detail), 0, 0, {}};
  }
  static StepResult Fail(types::v1::Problem problem) {
    return {State::kFailed, {}, 0, 0, std::move(problem)};
  }
};

// Every function is called until it is done, and may be called again afterwards.
class Location {
 public:
  virtual ~Location() = default;
  // The machine's disks are attached to the master target and take the stream.
  virtual StepResult AttachDisks(const View& view, storage::v1::Machine* machine) = 0;
  // The source does not run any more. Its agent has shipped everything, where it could.
  virtual StepResult TurnSourceOff(const View& view, storage::v1::Machine* machine) = 0;
  // The disks are the machine's, not the master target's.
  virtual StepResult HandDisksOver(const View& view, storage::v1::Machine* machine) = 0;
  virtual StepResult PowerOn(const View& view, storage::v1::Machine* machine) = 0;
  // What AttachDisks() made is gone; the disks too unless `keep_disks`.
  virtual StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) = 0;
};

// A directory in a datastore that is mounted on the master target. Nobody turns machines on or off
// there but the operator: the quiesce hook of the agent stops the source, and the machine counts as
// started when its disks are handed over.
class DatastoreDirectory : public Location {
 public:
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult TurnSourceOff(const View& view, storage::v1::Machine* machine) override;
  StepResult HandDisksOver(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOn(const View& view, storage::v1::Machine* machine) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) override;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_
