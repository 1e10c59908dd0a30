// Arm: one subscription at Azure Resource Manager, as far as Homeward uses it: virtual machines,
// managed disks, network interfaces, and what they are made in.
//
// Shapes are those of Azure's public REST reference, in the versions of kArmVersions.
#ifndef HOMEWARD_COMMON_AZURE_ARM_H_
#define HOMEWARD_COMMON_AZURE_ARM_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/azure/pauses.h"
#include "common/azure/token.h"
#include "common/clock/clock.h"
#include "common/net/https_client.h"

namespace homeward::azure {

// The api-version of every call, by resource provider. The only place that names one.
struct ArmVersions {
  const char* compute;    // Microsoft.Compute/virtualMachines, locations/vmSizes
  const char* disks;      // Microsoft.Compute/disks
  const char* network;    // Microsoft.Network
  const char* resources;  // Microsoft.Resources: resource groups
};
inline constexpr ArmVersions kArmVersions = {"2024-07-01", "2024-03-02", "2024-05-01",
                                             "2021-04-01"};

struct ArmOptions {
  std::string endpoint = "https://management.azure.com";
  // What tokens are asked for.
  std::string audience = "https://management.azure.com/";
  std::string subscription;
  // CAs (PEM) that the endpoint's certificate may be signed by, beside those that this host
  // trusts.
  std::string trusted;
  HttpsProxy proxy;
  // One request. A long-running operation takes many.
  absl::Duration request_limit = absl::Seconds(60);
  // How long a call tries again where Azure is not reached, answers 5xx, throttles, or has another
  // operation on the resource.
  absl::Duration retry_limit = absl::Minutes(5);
  // Between two tries, where Azure does not say: from the first, doubled up to the second, with
  // jitter.
  absl::Duration retry_first = absl::Seconds(1);
  absl::Duration retry_max = absl::Seconds(30);
  // Between two looks at an operation, where Azure does not say.
  absl::Duration poll = absl::Seconds(5);
  // A Retry-After over this is cut to it.
  absl::Duration retry_after_max = absl::Minutes(5);
};

// Of one call.
struct ArmCall {
  // The whole of it, with waiting for its operation.
  absl::Duration limit = absl::Minutes(30);
  // Ends the call soon after it becomes true. May be null; must outlive the call.
  const std::atomic<bool>* stop = nullptr;
};

using Tags = std::map<std::string, std::string>;

// /subscriptions/S/resourceGroups/G/providers/PROVIDER/TYPE/NAME[/TYPE/NAME]. Azure compares all of
// it without regard to case.
struct ResourceId {
  std::string subscription;
  std::string group;
  std::string provider;            // Microsoft.Network
  std::vector<std::string> types;  // virtualNetworks, subnets
  std::vector<std::string> names;  // one for each type
};
absl::StatusOr<ResourceId> ParseResourceId(absl::string_view id);
std::string FormatResourceId(const ResourceId& id);
bool SameResource(absl::string_view a, absl::string_view b);

struct ResourceGroup {
  std::string id, name, region;
  Tags tags;
};

struct VmDisk {
  std::string id;           // of the managed disk
  int lun = -1;             // of a data disk; -1: the disk that it boots from
  bool goes_along = false;  // deleted with the VM (deleteOption Delete)
};

struct Vm {
  std::string id, name, region, size;
  std::string vm_id;  // the UUID that the guest sees in its BIOS; another VM has another, even
                      // under the same name
  std::string provisioning_state;  // Creating, Updating, Succeeded, Failed, Deleting, ...
  VmDisk os_disk;
  std::vector<VmDisk> data_disks;       // by LUN
  std::vector<std::string> interfaces;  // ids; the primary one first
  Tags tags;
};

// "running", "starting", "stopping", "stopped" (off, and paid for), "deallocating", "deallocated",
// "unknown" (Azure says none: while it is created, or when it failed).
struct VmInstance {
  std::string power = "unknown";
  std::string provisioning_state;    // "succeeded", "updating", "failed/AllocationFailed", ...
  std::string provisioning_message;  // of one that failed
  std::string generation;            // V1, V2; empty: not told
  std::string agent_status;          // of Azure's guest agent: "Ready"; empty: none has reported
};

// A VM that boots from a disk which has an installed system (specialised): Azure puts no user,
// password or host name into it.
struct VmSpec {
  std::string region;
  std::string size;                     // Standard_D2s_v5
  std::string os_disk;                  // id. The VM's boot generation is this disk's.
  std::string os_type = "Linux";        // or Windows
  std::vector<std::string> data_disks;  // ids; LUN 0, 1, ...
  std::vector<std::string> interfaces;  // ids; the first one is primary
  // Whether disks and interfaces are deleted with the VM.
  bool takes_along = false;
  Tags tags;
};

struct DiskSpec {
  std::string region;
  std::string sku = "StandardSSD_LRS";
  // The page blob, or its snapshot ("...?snapshot=..."), which must be a fixed VHD.
  std::string source_uri;
  std::string storage_account_id;  // the account of that blob
  // Of a disk that is booted from; both are empty for any other.
  std::string os_type;     // Linux, Windows
  std::string generation;  // V1: BIOS, V2: UEFI
  Tags tags;
};

struct Disk {
  std::string id, name, region, sku;
  uint64_t bytes = 0;
  std::string unique_id;
  std::string provisioning_state;
  std::string state;       // Unattached, Attached, Reserved (its VM is deallocated), ActiveSAS, ...
  std::string managed_by;  // id of the VM that has it
  std::string source_uri;
  std::string os_type, generation;
  Tags tags;
};

struct InterfaceSpec {
  std::string region;
  std::string subnet;          // id
  std::string address;         // a fixed private one; empty: Azure chooses
  std::string security_group;  // id; may be empty
  Tags tags;
};

struct Interface {
  std::string id, name, region;
  std::string provisioning_state;
  std::string mac;      // "00-0D-3A-1B-C7-21"; empty until a VM with it was on
  std::string address;  // private
  std::string subnet;
  std::string vm;  // id of the VM that has it
  Tags tags;
};

struct Subnet {
  std::string id, name;
  std::vector<std::string> prefixes;  // "10.0.1.0/24"
  std::string provisioning_state;
};
struct Network {
  std::string id, name, region;
  std::vector<std::string> prefixes;
  std::vector<Subnet> subnets;
};

struct VmSize {
  std::string name;
  int cores = 0;
  uint64_t memory_bytes = 0;
  int data_disks_max = 0;
};

// The error code that Azure gave ("ResourceNotFound", "AllocationFailed"); empty where the status
// is not from Azure.
std::string AzureErrorOf(const absl::Status& status);

// Thread-safe. Calls block until the operation that they begin has ended. Each may be repeated: a
// PUT of what is so already changes nothing, a DELETE of what is not there is OK.
//
// Messages name the resource, Azure's code, its message and the id of the request, which its
// support asks for.
//   UNAVAILABLE          not reached, or 5xx, for longer than `retry_limit`
//   RESOURCE_EXHAUSTED   throttled for longer than that; a quota; no capacity (AllocationFailed,
//   SkuNotAvailable) DEADLINE_EXCEEDED    the call's limit; what was begun goes on: ask what is so
//   before trying again CANCELLED            by the caller; likewise UNAUTHENTICATED      the token
//   is not taken, neither is a new one PERMISSION_DENIED    the identity may not do it; or the
//   certificate is not trusted NOT_FOUND            the resource, or one that it names ABORTED
//   another operation is on it; or a precondition (ETag) FAILED_PRECONDITION  not in this state
//   (409): a disk that a VM has INVALID_ARGUMENT     Azure does not take it as it is INTERNAL the
//   reply is none of Azure's
class Arm {
 public:
  // `tokens`, `clock` and `pauses` must outlive it. INVALID_ARGUMENT: the endpoint.
  static absl::StatusOr<std::unique_ptr<Arm>> Open(ArmOptions options, Tokens& tokens,
                                                   const Clock& clock, Pauses& pauses);
  ~Arm();

  std::string VmId(absl::string_view group, absl::string_view name) const;
  std::string DiskId(absl::string_view group, absl::string_view name) const;
  std::string InterfaceId(absl::string_view group, absl::string_view name) const;

  absl::StatusOr<ResourceGroup> GetGroup(absl::string_view group, ArmCall call = {});

  absl::StatusOr<Vm> GetVm(absl::string_view group, absl::string_view name, ArmCall call = {});
  absl::StatusOr<std::vector<Vm>> ListVms(absl::string_view group, ArmCall call = {});
  absl::StatusOr<VmInstance> InstanceView(absl::string_view group, absl::string_view name,
                                          ArmCall call = {});
  // Creates it, and it is on then.
  absl::StatusOr<Vm> PutVm(absl::string_view group, absl::string_view name, const VmSpec& spec,
                           ArmCall call = {});
  // `at_once`: without asking the guest to shut down.
  absl::Status PowerOff(absl::string_view group, absl::string_view name, bool at_once,
                        ArmCall call = {});
  absl::Status Deallocate(absl::string_view group, absl::string_view name, ArmCall call = {});
  absl::Status Start(absl::string_view group, absl::string_view name, ArmCall call = {});
  absl::Status DeleteVm(absl::string_view group, absl::string_view name, ArmCall call = {});
  absl::StatusOr<std::vector<VmSize>> VmSizes(absl::string_view region, ArmCall call = {});

  absl::StatusOr<Disk> GetDisk(absl::string_view group, absl::string_view name, ArmCall call = {});
  absl::StatusOr<std::vector<Disk>> ListDisks(absl::string_view group, ArmCall call = {});
  absl::StatusOr<Disk> PutDisk(absl::string_view group, absl::string_view name,
                               const DiskSpec& spec, ArmCall call = {});
  absl::Status DeleteDisk(absl::string_view group, absl::string_view name, ArmCall call = {});
  // A URL that the disk's content can be read from, for `validity`.
  absl::StatusOr<std::string> GrantAccess(absl::string_view group, absl::string_view name,
                                          absl::Duration validity, ArmCall call = {});
  absl::Status RevokeAccess(absl::string_view group, absl::string_view name, ArmCall call = {});

  absl::StatusOr<Interface> GetInterface(absl::string_view group, absl::string_view name,
                                         ArmCall call = {});
  absl::StatusOr<std::vector<Interface>> ListInterfaces(absl::string_view group, ArmCall call = {});
  absl::StatusOr<Interface> PutInterface(absl::string_view group, absl::string_view name,
                                         const InterfaceSpec& spec, ArmCall call = {});
  absl::Status DeleteInterface(absl::string_view group, absl::string_view name, ArmCall call = {});

  // By id, since networks are often in another resource group.
  absl::StatusOr<Subnet> GetSubnet(absl::string_view id, ArmCall call = {});
  absl::StatusOr<Network> GetNetwork(absl::string_view id, ArmCall call = {});

  // How many requests Azure said it takes yet (x-ms-ratelimit-remaining-*), the least of what the
  // last replies said. -1: it said nothing.
  int64_t requests_left() const;

 private:
  struct Core;
  explicit Arm(std::unique_ptr<Core> core);
  const std::unique_ptr<Core> core_;
};

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_ARM_H_
