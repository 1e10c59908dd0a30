// VmMover: has vCenters do what moves of VMs need.
#ifndef HOMEWARD_CONFIG_SERVER_INVENTORY_VM_MOVER_H_
#define HOMEWARD_CONFIG_SERVER_INVENTORY_VM_MOVER_H_

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "config_server/inventory/inventories.h"
#include "config_server/model/vm_plan.h"
#include "config_server/workflows/hypervisor.h"

namespace homeward {

// Thread-safe. A thread for each move that is under way, and at most kMovesMax of them: further
// ones wait. Nothing is believed of earlier calls: before each step all VMs that could be meant are
// read as they are, and it must be clear again which are; a change is made only if the VM is still
// as it was read. So a move may be begun again from anywhere, by another process too.
class VmMover : public Hypervisor {
 public:
  static constexpr int kMovesMax = 16;
  struct Patience {
    absl::Duration guest = absl::Minutes(3);        // to shut down, before it is powered off
    absl::Duration task = absl::Minutes(10);        // of a vCenter
    absl::Duration unreachable = absl::Minutes(3);  // a vCenter; then the move fails
    int faults = 5;                                 // one after the other
  };

  // Both outlive it.
  VmMover(const Clock& clock, Inventories* inventories, Patience patience);
  ~VmMover() override;  // Ends what is under way; a vCenter's task goes on.

  std::map<std::string, VcenterState> States() const override { return inventories_.States(); }
  StepResult Move(const std::string& machine_id, const VmMove& move) override;

 private:
  class Run;
  // Held while a master target's VM is changed: several machines use it. By its BIOS UUID.
  void Lock(const std::string& vm);
  void Unlock(const std::string& vm);

  const Clock& clock_;
  Inventories& inventories_;
  const Patience patience_;
  absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Run>> runs_ ABSL_GUARDED_BY(mutex_);  // by machine
  std::set<std::string> locked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_INVENTORY_VM_MOVER_H_
