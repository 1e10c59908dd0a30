// Location: where a machine's disks come home to, and the steps that are taken there before and
// after the replication. It is a datastore directory on a master target, the VMware VM that the
// machine was, or a new VM.
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
  // Makes sure that nothing runs at the target: the VM that will get the disks is off.
  virtual StepResult PowerOffTarget(const View& view, storage::v1::Machine* machine) = 0;
  // Attaches the target's disks to the master target, which then receives the stream.
  virtual StepResult AttachDisks(const View& view, storage::v1::Machine* machine) = 0;
  // Makes sure that the source no longer runs. Its agent has sent everything by now, where it
  // could.
  virtual StepResult PowerOffSource(const View& view, storage::v1::Machine* machine) = 0;
  // Detaches the disks from the master target and gives them to the machine.
  virtual StepResult HandOverDisks(const View& view, storage::v1::Machine* machine) = 0;
  virtual StepResult PowerOn(const View& view, storage::v1::Machine* machine) = 0;
  // Undoes HandOverDisks() and PowerOn(): the master target has the disks again.
  virtual StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) = 0;
  // Brings each disk to where its record says it is, whatever was changed by hand. `stage` is how
  // far this job has come, 0 at first.
  virtual StepResult RepairDisks(const View& view, storage::v1::Machine* machine,
                                 uint32_t* stage) = 0;
  // Removes what AttachDisks() made; the disks too, unless `keep_disks`.
  virtual StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) = 0;
};

// A directory in a datastore that is mounted on the master target. Nobody turns machines on or off
// there but the operator: the quiesce hook of the agent stops the source, and the machine counts as
// started when its disks are handed over.
class DatastoreDirectory : public Location {
 public:
  StepResult PowerOffTarget(const View& view, storage::v1::Machine* machine) override;
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOffSource(const View& view, storage::v1::Machine* machine) override;
  StepResult HandOverDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOn(const View& view, storage::v1::Machine* machine) override;
  StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) override;
  StepResult RepairDisks(const View& view, storage::v1::Machine* machine, uint32_t* stage) override;
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
  StepResult PowerOffTarget(const View& view, storage::v1::Machine* machine) override;
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOffSource(const View& view, storage::v1::Machine* machine) override;
  StepResult HandOverDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOn(const View& view, storage::v1::Machine* machine) override;
  StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) override;
  StepResult RepairDisks(const View& view, storage::v1::Machine* machine, uint32_t* stage) override;
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
  StepResult PowerOffTarget(const View& view, storage::v1::Machine* machine) override;
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) override;
};

// What a vCenter has done, its inventory shows seconds later.
inline constexpr absl::Duration kShownWithin = absl::Minutes(10);

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
