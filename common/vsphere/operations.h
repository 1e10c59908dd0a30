// Operations: what Homeward changes in a vCenter, each as one call.
#ifndef HOMEWARD_COMMON_VSPHERE_OPERATIONS_H_
#define HOMEWARD_COMMON_VSPHERE_OPERATIONS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/vsphere/session.h"
#include "common/vsphere/vm_spec.h"

namespace homeward::vsphere {

// What an account needs, on every object that Homeward touches. Documented for operators in
// docs/operations/vmware.md.
const std::vector<std::string>& NeededPrivileges();

// Those of them that the session's account has not on one of `entities`.
absl::StatusOr<std::vector<std::string>> MissingPrivileges(Session& session,
                                                           const std::vector<Ref>& entities,
                                                           CallLimit limit = {});

// Begin a task and return its reference. A status says that none was begun, except UNAVAILABLE and
// DEADLINE_EXCEEDED, after which nobody knows: look at the inventory before trying again.
absl::StatusOr<Ref> BeginPowerOn(Session& session, const Ref& vm, CallLimit limit = {});
absl::StatusOr<Ref> BeginPowerOff(Session& session, const Ref& vm, CallLimit limit = {});
absl::StatusOr<Ref> BeginReconfigure(Session& session, const Ref& vm, const VmChange& change,
                                     CallLimit limit = {});
struct VmPlace {
  Ref folder, resource_pool, host;
};
// Its result is the VM.
absl::StatusOr<Ref> BeginCreateVm(Session& session, const VmPlace& place, const VmToCreate& vm,
                                  CallLimit limit = {});
// The VM and its files.
absl::StatusOr<Ref> BeginDestroy(Session& session, const Ref& vm, CallLimit limit = {});
// Merges every disk; for what the operator has asked for.
absl::StatusOr<Ref> BeginRemoveAllSnapshots(Session& session, const Ref& vm, CallLimit limit = {});
// "[datastore] folder/file", or a folder with what is in it.
absl::StatusOr<Ref> BeginDeleteFile(Session& session, const std::string& path,
                                    const Ref& datacenter, CallLimit limit = {});

// Without a task.
absl::Status Unregister(Session& session, const Ref& vm, CallLimit limit = {});
// Asks the guest, through its tools; it turns off some time later, or never. FAILED_PRECONDITION
// (ToolsUnavailable) where none run.
absl::Status ShutDownGuest(Session& session, const Ref& vm, CallLimit limit = {});
absl::Status MakeDirectory(Session& session, const std::string& path, const Ref& datacenter,
                           CallLimit limit = {});

// Whether a task, of anybody, waits or runs on one of the VMs (ManagedEntity.recentTask).
absl::StatusOr<bool> IsAtWork(Session& session, const std::vector<Ref>& vms, CallLimit limit = {});

// Follows a task until it has ended and returns its result, where that is an object. `progress` is
// told of percents. A task that failed is its fault's status. DEADLINE_EXCEEDED and CANCELLED: the
// task goes on.
absl::StatusOr<Ref> AwaitTask(Session& session, const Ref& task, absl::Duration patience,
                              const std::function<void(int percent)>& progress = nullptr,
                              const std::atomic<bool>* cancelled = nullptr);

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_OPERATIONS_H_
