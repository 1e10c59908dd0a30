// Location: where a machine's disks come home to, and what must be done there around the
// replication: a datastore directory on a master target, the VMware VM that the machine was, or a
// new one.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_

#include "config_server/model/view.h"
#include "config_server/workflows/hypervisor.h"
#include "config_server/workflows/step_result.h"

namespace homeward {

// Every function is called until it is done, and may be called again afterwards.
class Location {
 public:
  virtual ~Location() = default;
  // What still runs where the machine comes home to does not any more.
  virtual StepResult TurnHomeOff(const View& view, storage::v1::Machine* machine) = 0;
  // The machine's disks are attached to the master target and take the stream.
  virtual StepResult AttachDisks(const View& view, storage::v1::Machine* machine) = 0;
  // The source does not run any more. Its agent has shipped everything, where it could.
  virtual StepResult TurnSourceOff(const View& view, storage::v1::Machine* machine) = 0;
  // The disks are the machine's, not the master target's.
  virtual StepResult HandDisksOver(const View& view, storage::v1::Machine* machine) = 0;
  virtual StepResult PowerOn(const View& view, storage::v1::Machine* machine) = 0;
  // HandDisksOver() and PowerOn() are undone: the disks are the master target's.
  virtual StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) = 0;
  // The disks are where they are recorded to be, whatever somebody did to them. `stage` is this
  // job's, 0 at first.
  virtual StepResult PutDisksRight(const View& view, storage::v1::Machine* machine,
                                   uint32_t* stage) = 0;
  // What AttachDisks() made is gone; the disks too unless `keep_disks`.
  virtual StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) = 0;
};

// A directory in a datastore that is mounted on the master target. Nobody turns machines on or off
// there but the operator: the quiesce hook of the agent stops the source, and the machine counts as
// started when its disks are handed over.
class DatastoreDirectory : public Location {
 public:
  StepResult TurnHomeOff(const View& view, storage::v1::Machine* machine) override;
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult TurnSourceOff(const View& view, storage::v1::Machine* machine) override;
  StepResult HandDisksOver(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOn(const View& view, storage::v1::Machine* machine) override;
  StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) override;
  StepResult PutDisksRight(const View& view, storage::v1::Machine* machine,
                           uint32_t* stage) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) override;
};

// The VM that the machine was. Its own disks are detached from it and attached to the master
// target's VM as long as they are replicated to, so that only differences travel; they never go
// away with a replica. Before a disk is moved, the machine's record says so; it says where the disk
// is when the vCenter has shown it there.
class OriginalVm : public Location {
 public:
  // Null: there is no vCenter. It outlives this.
  explicit OriginalVm(Hypervisor* hypervisor) : hypervisor_(hypervisor) {}
  StepResult TurnHomeOff(const View& view, storage::v1::Machine* machine) override;
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult TurnSourceOff(const View& view, storage::v1::Machine* machine) override;
  StepResult HandDisksOver(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOn(const View& view, storage::v1::Machine* machine) override;
  StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) override;
  StepResult PutDisksRight(const View& view, storage::v1::Machine* machine,
                           uint32_t* stage) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) override;

 protected:
  StepResult Move(const View& view, const storage::v1::Machine& machine, VmMove::Kind kind,
                  bool for_ever);
  StepResult MoveDisks(const View& view, storage::v1::Machine* machine,
                       storage::v1::DiskPlace place, bool for_ever);

 private:
  Hypervisor* const hypervisor_;
};

// A VM that is made for the machine on the master target's host, with new disks that are attached
// to the master target's VM until it is failed back. It goes away with its replica, unless it came
// home.
class AlternateVm : public OriginalVm {
 public:
  using OriginalVm::OriginalVm;
  StepResult TurnHomeOff(const View& view, storage::v1::Machine* machine) override;
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) override;
};

// For locations: the master target is there, and says that it is in the wanted phase.
StepResult AwaitPhase(const View& view, storage::v1::Machine* machine,
                      storage::v1::ReplicaPhase phase, const char* what);
// Its points are gone, or the master target is, for good. Does not fail.
StepResult AwaitEnd(const View& view, storage::v1::Machine* machine,
                    storage::v1::ReplicaPhase phase);
// From now on the machine is expected to register from where it came home to.
void NoteStarted(const View& view, storage::v1::Machine* machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_
