#include "absl/strings/str_cat.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/problem/catalogue.h"

namespace homeward {
namespace {

using enum ProblemId;

std::string Beyond(const char* what, HealthLimits limits, const char* unit) {
  const bool less = limits.critical < limits.warning;
  return absl::StrCat(what, less ? " under " : " over ", limits.warning, unit,
                      " (Critical: ", less ? "under " : "over ", limits.critical, unit, ")");
}

std::vector<ProblemEntry> Enrolment() {
  return {
      {.id = kEnrolmentRefused,
       .name = "ENROLMENT_REFUSED",
       .of = "a wrong passphrase",
       .when = "a component did not prove that it knows the configuration server's passphrase",
       .causes = {"the passphrase was changed since its enrolment file was made",
                  "the enrolment file is another configuration server's"},
       .action = "Make a new enrolment file: homeward enrol passphrase show."},
      {.id = kEnrolmentOtherRole,
       .name = "ENROLMENT_REFUSED",
       .of = "another role",
       .when = "a component enrols with a host id that belongs to a component of another role",
       .causes = {"two components on one host use the same state directory",
                  "a state directory was copied from a component of another role"},
       .action = "Give each component a state directory of its own. In a copied one, remove the "
                 "directory identity, and start the component again."},
  };
}

std::vector<ProblemEntry> ProcessServers() {
  return {
      {.id = kProcessServerDown,
       .name = "PROCESS_SERVER_DOWN",
       .when = "the process server is not connected, or none is",
       .causes = {"its service does not run", "it cannot reach the configuration server"},
       .action =
           "Start it, or give its machines to another: homeward machines switch-process-server.",
       .retryable = true},
      {.id = kCacheLow,
       .name = "CACHE_LOW",
       .when = Beyond("the process server's cache has", kCacheFreePercent, " % free"),
       .causes = {"the link to the master target is slower than the machines write",
                  "other data fills the cache's volume"},
       .action = "Free room on the cache's volume, or use another process server. Data that waits "
                 "leaves the cache when the master target takes it.",
       .retryable = true},
      {.id = kProcessorHigh,
       .name = "PROCESSOR_HIGH",
       .when = Beyond("the process server's processors are busy", kProcessorPercent, " %"),
       .causes = {"too many machines use this process server",
                  "another program on the host uses the processors"},
       .action = "See which program it is, on the host. If it is the process server, give the host "
                 "more processors, or protect some machines through another process server.",
       .retryable = true},
      {.id = kMemoryHigh,
       .name = "MEMORY_HIGH",
       .when = Beyond("the process server's host uses", kMemoryPercent, " % of its memory"),
       .causes = {"another program on the host uses the memory",
                  "too many machines use this process server"},
       .action = "See which program it is, on the host. If it is the process server, give the host "
                 "more memory, or protect some machines through another process server.",
       .retryable = true},
      {.id = kPendingHigh,
       .name = "PENDING_HIGH",
       .when = Beyond("the data that waits at the process server needs", kDrainMinutes,
                      " minutes to leave"),
       .causes = {"the link to the master target is slower than the machines write",
                  "the master target is slow or down", "the bandwidth is limited by configuration"},
       .action = "Check the master target, and the link to it. See whether the process server's "
                 "configuration limits the bandwidth at this time of day.",
       .retryable = true},
  };
}

std::vector<ProblemEntry> MasterTargets() {
  return {
      {.id = kMasterTargetDown,
       .name = "MASTER_TARGET_DOWN",
       .when = "the master target is not connected, or no suitable one is",
       .causes = {"its service does not run", "it cannot reach the configuration server"},
       .action = "Start it, or choose another: homeward servers list.",
       .retryable = true},
      {.id = kMasterTargetOsMismatch,
       .name = "MASTER_TARGET_OS_MISMATCH",
       .when = "the master target and the machine have different types of operating system",
       .causes = {"a Linux machine needs a Linux master target, a Windows machine a Windows one"},
       .action = "Choose another master target."},
      {.id = kMasterTargetDiskLimit,
       .name = "MASTER_TARGET_DISK_LIMIT",
       .when = absl::StrCat("one master target would have more than ", kMasterTargetDisksMax,
                            " disks, or its VM has no place for more"),
       .causes = {"it keeps many machines already"},
       .action = "Choose another master target."},
      {.id = kDatastoreNotAccessible,
       .name = "DATASTORE_NOT_ACCESSIBLE",
       .number = 8061,
       .of = "an ESX host",
       .when = "the ESX host of the master target cannot write to the VM's datastore",
       .causes = {"the host does not mount it", "the host mounts it read-only",
                  "the host has lost its connection to it", "the name is mistyped",
                  "none was chosen for a new VM"},
       .action = "Mount the datastore on the master target's ESX host, read-write. Or choose "
                 "another master target, or for a new VM another datastore with --datastore: "
                 "homeward inventory datastores lists them."},
      {.id = kDatastoreNotOffered,
       .name = "DATASTORE_NOT_ACCESSIBLE",
       .number = 8061,
       .of = "a directory of the master target",
       .when = "the master target does not have the datastore that the disks would go to",
       .causes = {"the path is mistyped",
                  "it is not among datastores in the master target's configuration",
                  "nothing is mounted there"},
       .action = "Choose one that the master target has: homeward servers show. Or add it under "
                 "datastores in the master target's configuration, and restart the master target."},
      {.id = kDatastoreLost,
       .name = "DATASTORE_NOT_ACCESSIBLE",
       .number = 8061,
       .of = "a replica",
       .when = "the master target does not find the datastore, or the device, that has the replica",
       .causes = {"it is not mounted any more",
                  "it was taken out of the master target's "
                  "configuration",
                  "a file of the replica was removed"},
       .action =
           "Mount it on the master target, read-write, under the path that the message names. "
           "It has to stand in the master target's configuration. Replication then goes on "
           "by itself.",
       .retryable = true},
      {.id = kBlockDeviceUnsuitable,
       .name = "BLOCK_DEVICE_UNSUITABLE",
       .when = "a block device of the master target cannot hold the machine's disk",
       .causes = {"it is not among block_devices in the master target's configuration, or not "
                  "attached",
                  "it is smaller than the disk", "another machine's disk is on it"},
       .action = "Name one device that is large enough for each disk: homeward servers show lists "
                 "them."},
      {.id = kRetentionDriveUnsuitable,
       .name = "RETENTION_DRIVE_UNSUITABLE",
       .when = absl::StrCat("recovery points cannot be kept on the master target's retention "
                            "drive, or it has less than ",
                            kRetentionFreePercentMin, " % and less than ",
                            kRetentionFreeEnoughBytes / kGiB, " GiB free"),
       .causes = {"other data is on it", "retention is longer than it can hold",
                  "it is missing, has no size, or its file system is FAT",
                  "something else uses the directory"},
       .action = "Free room on the drive, or correct what the message names: "
                 "homeward-master-target --config FILE --prepare_retention checks it. Or choose "
                 "another master target.",
       .retryable = true},
      {.id = kVmNameExists,
       .name = "VM_NAME_EXISTS",
       .number = 78052,
       .when = "a VM or a directory of that name exists already, and its disks must not be "
               "overwritten",
       .causes = {"the directory has another machine's disks",
                  "the machine runs from these very disks", "the vCenter has a VM of that name"},
       .action = "Choose another name: --directory, or for a new VM --vm-name."},
      {.id = kDirectoryUnsuitable,
       .name = "DIRECTORY_UNSUITABLE",
       .of = "its name",
       .when = "the directory's name cannot be used",
       .causes = {"it has a quotation mark, a slash, a backslash or a control character",
                  "it begins with a dot, or has a space at its beginning or end",
                  absl::StrCat("it has more than ", kDirectoryBytesMax,
                               " bytes; a character that is not ASCII has two to four"),
                  "no directory was given, and the machine's own name is such a one"},
       .action = "Give a plain name: --directory."},
      {.id = kPlaceNotChoosable,
       .name = "DIRECTORY_UNSUITABLE",
       .of = "a VM",
       .when = "a datastore, directory or block device was given where the VM decides it",
       .causes = {"the original VM has its disks already", "a new VM has a folder of its own name"},
       .action = "Leave out --directory and --block-device, and for an original VM also "
                 "--datastore. To choose where the disks go, use --location directory."},
  };
}

std::vector<ProblemEntry> Replicas() {
  return {
      {.id = kVolumeFull,
       .name = "VOLUME_FULL",
       .when = "a volume of the master target is full, and nothing is replicated to it meanwhile",
       .causes = {"the retention drive is too small for the recovery points",
                  "the datastore is too small for the machine's disks", "other data is on it"},
       .action = "Free room on the volume that the message names, or enlarge it. Replication then "
                 "goes on by itself.",
       .retryable = true},
      {.id = kDiskNotAttached,
       .name = "DISK_NOT_ATTACHED",
       .when = "the master target does not see a disk that was attached to its VM",
       .causes = {"the vCenter has not attached it yet",
                  "somebody detached it from the master target's VM",
                  "disk.EnableUUID is not true on the master target's VM"},
       .action = "Check in vCenter that the master target's VM has the disk, and that its "
                 "disk.EnableUUID is TRUE. When the disk appears, replication goes on by itself.",
       .retryable = true},
      {.id = kReplicaDamaged,
       .name = "REPLICA_DAMAGED",
       .of = "its content",
       .when = "what the replica or its recovery journal contains is damaged",
       .causes = {"the volume has a fault", "somebody changed the file"},
       .action = "Check the volume. If the file that the message names is restored, as from a "
                 "copy, replication goes on by itself. To begin with a new replica, remove the "
                 "protection and protect the machine again. That destroys all recovery points of "
                 "this one."},
      {.id = kReplicaFileWrong,
       .name = "REPLICA_DAMAGED",
       .of = "a file that describes it",
       .when = "a file that describes the replica, such as a VMDK descriptor, cannot be read",
       .causes = {"somebody changed the file", "the volume has a fault"},
       .action = "Restore the file that the message names, from a copy or as its format says. "
                 "Replication then goes on by itself.",
       .retryable = true},
      {.id = kReplicaUnsuitable,
       .name = "REPLICA_UNSUITABLE",
       .of = "disks of a master target",
       .when = "the disks of the replica cannot be used as they are",
       .causes = {"something else holds the device", "a disk has another size than it should have",
                  "the directory has the disks of another machine"},
       .action = "Correct what the message names: replication then goes on by itself. The recovery "
                 "points stay."},
      {.id = kReplicaFailed,
       .name = "REPLICA_FAILED",
       .when = "the server that keeps the replica cannot open, change or remove it as it was told",
       .causes = {"an I/O error", "a fault in the server; its log has more"},
       .action = "Read the server's log, and check its volumes. The server tries again by "
                 "itself.",
       .retryable = true},
      {.id = kReplicaChangedByItself,
       .name = "REPLICA_CHANGED_BY_ITSELF",
       .when = "the scrub found that the replica or its journal is not what was written",
       .causes = {"the volume has a fault", "something else wrote to the replica's files"},
       .action = "Check the master target's volumes. The machine's agent sends again what is "
                 "damaged, and then it is over. To compare all of it: homeward machines resync "
                 "MACHINE.",
       .retryable = true},
      {.id = kOlderPointsDoubtful,
       .name = "OLDER_POINTS_DOUBTFUL",
       .when = "the replica was damaged and has been repaired, and recovery points from before the "
               "repair may contain the damage",
       .causes = {"the volume had a fault", "something else wrote to the replica's files"},
       .action = "Check the master target's volumes. Prefer newer recovery points, which are "
                 "right. It is over when retention has dropped the older ones.",
       .retryable = true},
  };
}

std::vector<ProblemEntry> ReplicasInAzure() {
  return {
      {.id = kReplicaLostLease,
       .name = "REPLICA_LOST_LEASE",
       .when = "another process server has taken the leases of the replica's page blobs, and this "
               "one has stopped writing to them",
       .causes =
           {"the machine was moved to the other process server, and this one does not know it "
            "yet",
            "two process servers have the same identity, as after one was copied",
            "something that is not Homeward took a lease of a blob"},
       .action = "If the machine was moved, nothing: it is over when this process server hears of "
                 "it. If this one is to have the replica, stop the other, and restart this one: it "
                 "takes the replica back.",
       .retryable = true},
      {.id = kContainerNotReachable,
       .name = "CONTAINER_NOT_REACHABLE",
       .of = "the way to it",
       .when = "the process server does not reach the container that replicas are kept in",
       .causes = {"the host has no way to the storage account, or its name is not resolved",
                  "the storage account's firewall does not let the host in",
                  "Azure Storage has an outage"},
       .action = "From the process server's host, open the URL that the message names: any answer "
                 "of Azure is right. Correct network, name service, proxy or the account's "
                 "firewall. Replication then goes on by itself.",
       .retryable = true},
      {.id = kContainerMissing,
       .name = "CONTAINER_NOT_REACHABLE",
       .of = "the container itself",
       .when = "the container, or a page blob of the replica, is not there, or is not in the "
               "process server's configuration",
       .causes = {"the container was deleted, or its URL is mistyped",
                  "it was taken out of azure.storage in the process server's configuration",
                  "somebody deleted a page blob of the replica"},
       .action = "Make the container, or correct container_url under azure.storage in the process "
                 "server's configuration, and restart it. A deleted blob can be restored if soft "
                 "delete is on; otherwise it is made anew, and the disk is replicated again.",
       .retryable = true},
      {.id = kStorageAccessRefused,
       .name = "STORAGE_ACCESS_REFUSED",
       .when = "Azure Storage does not take the process server's credential, or not for what it "
               "has to do",
       .causes = {"the key was rotated, or the signature or secret has expired",
                  "the service principal lacks the role Storage Blob Data Contributor for the "
                  "container",
                  "the signature lacks a permission: it needs read, add, create, write, delete and "
                  "list",
                  "the host's clock is wrong by more than 15 minutes",
                  "the certificate of the server is not trusted"},
       .action =
           "Renew the credential in the file that the configuration names under "
           "azure.storage, and restart the process server. The message has Azure's own code."},
      {.id = kStorageThrottled,
       .name = "STORAGE_THROTTLED",
       .when = "Azure Storage refuses writes because they are too many, and nothing is replicated "
               "meanwhile",
       .causes = {"the machines write more than a page blob or the storage account takes",
                  "others use the same storage account"},
       .action = "Spread the machines over several storage accounts, or use a premium account. "
                 "Replication goes on by itself when Azure takes writes again.",
       .retryable = true},
      {.id = kBlobUnsuitable,
       .name = "REPLICA_UNSUITABLE",
       .of = "page blobs",
       .when = "a page blob of the replica cannot be used as it is",
       .causes = {"a blob of that name is not Homeward's, or is another machine's",
                  "the machine's disk had another size when the blob was made",
                  "a newer version of Homeward made it",
                  "somebody made a snapshot of a blob that is to be removed"},
       .action = "Correct what the message names: rename or delete the blob, or remove the "
                 "snapshot. Replication then goes on by itself."},
      {.id = kBlobMetadataWrong,
       .name = "REPLICA_DAMAGED",
       .of = "metadata of page blobs",
       .when = "the metadata of a page blob, or of a snapshot, cannot be read",
       .causes = {"somebody changed metadata whose name begins with hw_"},
       .action = "Put back what the message names, as docs/formats/page_blob_replica.md says. A "
                 "snapshot of which that is not known can be deleted: its recovery point is lost "
                 "then. Replication goes on by itself."},
  };
}

}  // namespace

std::vector<ProblemEntry> ServerProblems() {
  std::vector<ProblemEntry> all = Enrolment();
  for (const auto& part : {ProcessServers(), MasterTargets(), Replicas(), ReplicasInAzure()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace homeward
