#include "common/problem/catalogue.h"

namespace homeward {
namespace {

using enum ProblemId;

std::vector<ProblemEntry> Vcenters() {
  return {
      {.id = kVcenterUnknown,
       .name = "VCENTER_UNKNOWN",
       .when = "the configuration server does not know that vCenter",
       .causes = {"it was never added, or was removed", "the name is mistyped"},
       .action = "Choose one of: homeward vcenters list. If it is missing there, add it: homeward "
                 "vcenters add."},
      {.id = kVcenterExists,
       .name = "VCENTER_EXISTS",
       .when = "a vCenter of that name, or this very vCenter, was added before",
       .causes = {"it is known under another name", "the name is taken"},
       .action = "See homeward vcenters list. To change its account or certificate, remove it and "
                 "add it again."},
      {.id = kVcenterDisconnected,
       .name = "VCENTER_DISCONNECTED",
       .when = "the vCenter cannot be reached, so disks could be neither detached nor attached",
       .causes = {"it is down, or still starting",
                  "a firewall between it and the configuration server",
                  "the address is not that of a vCenter or an ESX host"},
       .action = "Restore the connection. homeward vcenters list says when it is back.",
       .retryable = true},
      {.id = kVcenterCertificate,
       .name = "VCENTER_CERTIFICATE",
       .when = "the vCenter's certificate is not the one that was named",
       .causes = {"it was renewed", "no thumbprint was given",
                  "another server answers at that address"},
       .action = "Find out the certificate's thumbprint at the vCenter itself (VAMI, or openssl "
                 "x509 -fingerprint -sha256). If it is the one in the message, give it with "
                 "--thumbprint, or the CA with --ca-file."},
      {.id = kVcenterLogin,
       .name = "VCENTER_LOGIN",
       .when = "the vCenter does not accept the account's name and password",
       .causes = {"the password was changed or has expired", "the name lacks its domain"},
       .action = "Check the account, and write its name with the domain "
                 "(homeward@vsphere.local)."},
      {.id = kVcenterReadOnlyAccount,
       .name = "VCENTER_READ_ONLY_ACCOUNT",
       .when = "the account may look but not change",
       .causes = {"its role lacks privileges",
                  "the role was given on a folder only, or without propagation"},
       .action = "Give its role the privileges of docs/operations/vmware.md, at the top of the "
                 "inventory and with propagation."},
      {.id = kVsphereTaskFailed,
       .name = "VSPHERE_TASK_FAILED",
       .when = "the vCenter refused what was asked of it, or failed to do it",
       .causes = {"the message says why, in the vCenter's own words"},
       .action = "Correct what the message names. Then try again.",
       .retryable = true},
      {.id = kHostNotDiscovered,
       .name = "HOST_NOT_DISCOVERED",
       .when = "an ESX host, or the VM of the master target, is in no inventory",
       .causes = {"its vCenter was not added", "the host is disconnected from its vCenter",
                  "the master target is not a VM, or is a VM of another vCenter"},
       .action = "Add the vCenter or the host: homeward vcenters add. If it was added, connect the "
                 "host in vCenter: homeward inventory hosts."},
      {.id = kDatastoreTypeUnsupported,
       .name = "DATASTORE_TYPE_UNSUPPORTED",
       .when = "a machine cannot come back to a datastore of this type",
       .causes = {"an original location is VMFS, vSAN or a raw device",
                  "an alternate location is VMFS only"},
       .action = "Move the disks to a VMFS datastore, or choose one for the new VM."},
      {.id = kDatastoreFull,
       .name = "DATASTORE_FULL",
       .when = "the datastore that was chosen has less room than the machine's disks may need",
       .causes = {"other VMs fill it", "it is too small"},
       .action = "Free room on it, or choose another: homeward inventory datastores."},
  };
}

std::vector<ProblemEntry> MachinesVms() {
  return {
      {.id = kVmNotRecorded,
       .name = "VM_NOT_RECORDED",
       .of = "reprotect to the original VM",
       .when = "the machine has no original VM: none was known when it was protected",
       .causes = {"it is a physical machine", "its vCenter was added after it was protected",
                  "its agent could not read the SMBIOS UUID"},
       .action = "Have a new VM made (--location alternate), or use a directory of the master "
                 "target (--location directory)."},
      {.id = kNoVmToRepair,
       .name = "VM_NOT_RECORDED",
       .of = "repair",
       .when = "no VM is recorded for the machine, so there is none to repair",
       .causes = {"it is a physical machine", "its vCenter was added after it was protected"},
       .action = "Nothing is to be done in vCenter. If the replica is what is wrong, synchronise "
                 "it: homeward machines resync."},
      {.id = kVmGone,
       .name = "VM_GONE",
       .when = "the VM that the machine was is in no inventory any more",
       .causes = {"it was deleted or unregistered", "the account does not see it"},
       .action = "If the VM's files still exist, register it in vCenter again. If they were moved, "
                 "name the VM with --vm. Otherwise use another location."},
      {.id = kVmAmbiguous,
       .name = "VM_AMBIGUOUS",
       .when = "more than one VM of the vCenters can be the one that is meant",
       .causes = {"a VM was copied with its files, and the copy has its UUIDs",
                  "another product keeps a replica of it in the same vCenter",
                  "a host is known here both by itself and by its vCenter"},
       .action = "Say which VM it is, by the reference or path from the message. For a machine: "
                 "--vm. For a master target: homeward servers identify NAME --vm REFERENCE."},
      {.id = kVmNotThatOne,
       .name = "VM_NOT_THAT_ONE",
       .when = "the VM that --vm names cannot be the one that is meant",
       .causes = {"the reference or path is mistyped",
                  "it was registered again, and has another reference now",
                  "its disks or its UUID are not those of the machine or master target"},
       .action = "Name one of those in the message, or leave --vm out."},
      {.id = kVmNameUnsuitable,
       .name = "VM_NAME_UNSUITABLE",
       .when = "vSphere would not accept the name for the new VM",
       .causes = {"it is too long, or empty", "it has control characters, or is not UTF-8",
                  "it begins or ends with a space"},
       .action = "Give another with --vm-name: at most 80 characters."},
      {.id = kVmIsSource,
       .name = "VM_IS_SOURCE",
       .when = "the machine runs in the very VM that its disks would go to",
       .causes = {"it has come home already"},
       .action = "Have a new VM made (--location alternate), or use a directory of the master "
                 "target (--location directory)."},
      {.id = kVmDisksChanged,
       .name = "VM_DISKS_CHANGED",
       .when = "the VM's disks are not those of the machine any more",
       .causes = {"a disk was removed, replaced or moved in vCenter",
                  "a disk of the machine grew, or was added, while it ran elsewhere"},
       .action = "Correct the VM's disks in vCenter; homeward machines show has what is recorded. "
                 "Then try again."},
      {.id = kVmNotOff,
       .name = "VM_NOT_OFF",
       .when = "the on-premises VM runs, and its disks are to be moved",
       .causes = {"somebody turned it on"},
       .action = "Turn it off. No two copies of a machine may run at the same time.",
       .retryable = true},
      {.id = kVmHasSnapshots,
       .name = "VM_HAS_SNAPSHOTS",
       .when = "the on-premises VM has snapshots, or writes to delta disks that are left of some",
       .causes = {"a backup left one behind", "an operator made one",
                  "a snapshot was removed and its delta disks were not merged",
                  "it is a linked clone"},
       .action = "Remove all its snapshots in vCenter, or try again with --remove-snapshots. If "
                 "vCenter lists none, consolidate the VM's disks there."},
      {.id = kRawDeviceUnsupported,
       .name = "RAW_DEVICE_UNSUPPORTED",
       .when =
           "a disk of the VM is a raw device mapping in physical mode, which cannot be attached "
           "to another VM",
       .causes = {"the VM is a node of a cluster"},
       .action = "Map the device in virtual mode, or use another location."},
      {.id = kVmPowerOnFailed,
       .name = "VM_POWER_ON_FAILED",
       .number = 8038,
       .when = "the ESX host could not start the VM",
       .causes = {"the host has too little memory", "a disk of the VM is in use elsewhere"},
       .action = "Correct what the message names, or free memory on the host. Then fail back "
                 "again."},
      {.id = kNothingToRepair,
       .name = "NOTHING_TO_REPAIR",
       .when = "the machine's VM and its disks are as they are recorded",
       .causes = {"they were corrected already"},
       .action = "Nothing has to be done."},
  };
}

std::vector<ProblemEntry> MasterTargetsVms() {
  return {
      {.id = kMasterTargetHasSnapshots,
       .name = "MASTER_TARGET_HAS_SNAPSHOTS",
       .when = "the master target's VM has a snapshot, or writes to delta disks that are left of "
               "one",
       .causes = {"a backup of the master target", "an operator made one",
                  "a snapshot was removed and its delta disks were not merged"},
       .action = "Remove all snapshots of the master target's VM. If vCenter lists none, "
                 "consolidate its disks. Exclude the VM from backups."},
      {.id = kMasterTargetController,
       .name = "MASTER_TARGET_CONTROLLER",
       .when = "the master target's VM has a SCSI controller that is not an LSI Logic",
       .causes = {"it was made with the paravirtual one, the default of newer guest types"},
       .action = "Turn the VM off, and replace the controller by LSI Logic Parallel or LSI Logic "
                 "SAS."},
      {.id = kMasterTargetEnableUuid,
       .name = "MASTER_TARGET_ENABLE_UUID",
       .when = "disk.EnableUUID is not true on the master target's VM, so it cannot tell disks "
               "apart",
       .causes = {"it was never set"},
       .action = "Turn the VM off, and set disk.EnableUUID to TRUE in its advanced settings."},
      {.id = kDiskUuidClash,
       .name = "DISK_UUID_CLASH",
       .when = "a disk of the machine has the UUID of a disk of the master target",
       .causes = {"both were made from one template",
                  "somebody attached the disk to the master target already"},
       .action = "Give one of them another UUID (vmkfstools -J setuuid), or detach the disk from "
                 "the master target."},
  };
}

}  // namespace

std::vector<ProblemEntry> VcenterProblems() {
  std::vector<ProblemEntry> all = Vcenters();
  for (const auto& part : {MachinesVms(), MasterTargetsVms()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace homeward
