// Location: where a machine's disks come home to, and the steps that are taken there before and
// after the replication. It is a datastore directory on a master target, the VMware VM that the
// machine was, a new VM, or a VM in Azure. What the machine ran in is a Source's matter.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_

#include "config_server/model/view.h"
#include "config_server/workflows/cloud.h"
#include "config_server/workflows/hypervisor.h"
#include "config_server/workflows/step_result.h"

namespace homeward {

// Every function is called until it is done, and may be called again afterwards.
class Location {
 public:
  virtual ~Location() = default;
  // Makes sure that nothing runs at the target: the VM that will get the disks is off.
  virtual StepResult PowerOffTarget(const View& view, storage::v1::Machine* machine) = 0;
  // Gives the receiver the target's disks, which then takes the stream.
  virtual StepResult AttachDisks(const View& view, storage::v1::Machine* machine) = 0;
  // Detaches the disks from the master target and gives them to the machine.
  virtual StepResult HandOverDisks(const View& view, storage::v1::Machine* machine) = 0;
  virtual StepResult PowerOn(const View& view, storage::v1::Machine* machine) = 0;
  // Undoes HandOverDisks() and PowerOn(): the master target has the disks again.
  virtual StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) = 0;
  // Undoes them where the machine ran from another point before the job, which stays as it is if it
  // still is.
  virtual StepResult TakeNewDisksBack(const View& view, storage::v1::Machine* machine);
  // Brings each disk to where its record says it is, whatever was changed by hand. `stage` is how
  // far this job has come, 0 at first.
  virtual StepResult RepairDisks(const View& view, storage::v1::Machine* machine,
                                 uint32_t* stage) = 0;
  // Starts a copy of the machine in a network of its own, from the point that its TestFailover
  // names; replication goes on. Only where LocationRules::can_test().
  virtual StepResult StartTest(const View& view, storage::v1::Machine* machine);
  // Removes all of it. The machine may not be replicated there any more.
  virtual StepResult EndTest(const View& view, storage::v1::Machine* machine);
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

// A VM in Azure, which is made when the machine is failed over. Its disks are imported from the
// snapshots that a recovery point is; the page blobs stay as they are, so that all of it can be
// undone. What is made is named in the placement before it is.
class AzureVm : public Location {
 public:
  // Null: there is none. It outlives this.
  explicit AzureVm(Cloud* cloud) : cloud_(cloud) {}
  StepResult PowerOffTarget(const View& view, storage::v1::Machine* machine) override;
  StepResult AttachDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult HandOverDisks(const View& view, storage::v1::Machine* machine) override;
  StepResult PowerOn(const View& view, storage::v1::Machine* machine) override;
  StepResult TakeDisksBack(const View& view, storage::v1::Machine* machine) override;
  StepResult TakeNewDisksBack(const View& view, storage::v1::Machine* machine) override;
  StepResult RepairDisks(const View& view, storage::v1::Machine* machine, uint32_t* stage) override;
  StepResult StartTest(const View& view, storage::v1::Machine* machine) override;
  StepResult EndTest(const View& view, storage::v1::Machine* machine) override;
  StepResult Discard(const View& view, storage::v1::Machine* machine, bool keep_disks) override;

 private:
  StepResult Move(const storage::v1::Machine& machine, const storage::v1::AzureVm& vm,
                  CloudMove::Kind kind, bool for_ever = false);
  Cloud* const cloud_;
};

// What was done elsewhere is shown seconds later: by a vCenter in its inventory, by a receiver in
// its heartbeat.
inline constexpr absl::Duration kShownWithin = absl::Minutes(10);

// For locations: the receiver is there, and says that it is in the wanted phase.
StepResult AwaitPhase(const View& view, storage::v1::Machine* machine,
                      storage::v1::ReplicaPhase phase, const char* what);
// Its points are gone, or the receiver is, for good. Does not fail.
StepResult AwaitEnd(const View& view, storage::v1::Machine* machine,
                    storage::v1::ReplicaPhase phase);
// From now on the machine is expected to register from where it came home to.
void NoteStarted(const View& view, storage::v1::Machine* machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATION_H_
