#include "config_server/model/problems.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"

namespace homeward {

const std::vector<ProblemEntry>& ProblemCatalogue() {
  static const auto& catalogue = *new std::vector<ProblemEntry>{
      {ProblemId::kAgentNotRegistered, "AGENT_NOT_REGISTERED", 0,
       "the machine booted and its agent has not registered since",
       {"the machine still boots", "the agent service does not run",
        "the machine cannot reach the configuration server"},
       "Wait: a registration takes up to 15 minutes after a boot. Then try again. If it takes longer, "
       "look at the agent's log on the machine.",
       true},
      {ProblemId::kAgentNotConnected, "VM_UNREACHABLE_FROM_CS", 95226,
       "the agent has registered before and has no session now",
       {"the machine is off", "the agent service does not run",
        "the network between the machine and the configuration server is cut"},
       "Start the machine and its agent, check the network, then try again.", true},
      {ProblemId::kNotInDatabase, "NOT_IN_DATABASE", 0,
       "the machine, server or job is not in this configuration server's database",
       {"the name is wrong", "its agent never registered here",
        "it was protected by another configuration server"},
       "List what is there: homeward machines list, homeward servers list, homeward jobs list.",
       false},
      {ProblemId::kAmbiguousName, "AMBIGUOUS_NAME", 0, "several have this name",
       {"two hosts were given the same name"}, "Use the id instead of the name.", false},
      {ProblemId::kWrongState, "OPERATION_NOT_ALLOWED", 0,
       "the machine's protection state does not allow this operation",
       {"another step of the circle comes first"},
       "See allowed operations: homeward machines show.", false},
      {ProblemId::kJobRunning, "JOB_RUNNING", 0, "another job works on this machine",
       {"an earlier command has not ended"},
       "Wait for it (homeward jobs watch) or cancel it, then try again.", true},
      {ProblemId::kNotProtected, "NOT_PROTECTED", 0, "failback needs the state Protected",
       {"the first synchronisation has not ended", "the machine was never protected"},
       "Protect the machine, or wait for its synchronisation.", false},
      {ProblemId::kHealthNotOk, "HEALTH_NOT_OK", 0, "failback needs replication in good health",
       {"see the machine's health errors"},
       "Mend what homeward machines show lists under health, then try again.", true},
      {ProblemId::kNoRecoveryPoint, "NO_RECOVERY_POINT", 0,
       "the machine has no recovery point of the wanted kind",
       {"the first synchronisation has not ended",
        "no application-consistent point was made: the agent's hooks are not configured"},
       "Wait for a point (homeward points list), or choose another kind.", true},
      {ProblemId::kPointNotFound, "POINT_NOT_FOUND", 0, "the chosen recovery point is not there",
       {"retention dropped it", "the id is mistyped"},
       "Choose one of: homeward points list.", false},
      {ProblemId::kPointRequired, "POINT_REQUIRED", 0, "no recovery point was chosen",
       {"--point was left out"},
       "Give --point latest, --point latest-app-consistent, or a point's id.", false},
      {ProblemId::kNotCommitted, "NOT_COMMITTED", 0, "the failback is not committed",
       {"commit comes before reprotect"}, "Check the machine, then: homeward machines commit.",
       false},
      {ProblemId::kMachineRunning, "MACHINE_RUNNING", 0,
       "the machine runs from the disks that another point would overwrite",
       {"its agent registered after the failback"},
       "Commit, or keep this point. Another point would lose what was written since.", false},
      {ProblemId::kProcessServerDown, "PROCESS_SERVER_DOWN", 0,
       "there is no process server with a recent heartbeat",
       {"its service does not run", "it cannot reach the configuration server"},
       "Start it, or choose another: homeward servers list.", true},
      {ProblemId::kCacheLow, "CACHE_LOW", 0, "the process server's cache volume is nearly full",
       {"the link to the master target is slower than the machines write",
        "other data on the volume"},
       "Free room on its cache volume, or choose another process server.", true},
      {ProblemId::kMasterTargetDown, "MASTER_TARGET_DOWN", 0,
       "there is no master target with a recent heartbeat",
       {"its service does not run", "it cannot reach the configuration server"},
       "Start it, or choose another: homeward servers list.", true},
      {ProblemId::kMasterTargetOsMismatch, "MASTER_TARGET_OS_MISMATCH", 0,
       "the master target's operating system type is not the machine's",
       {"a Linux machine needs a Linux master target, a Windows machine a Windows one"},
       "Choose another master target.", false},
      {ProblemId::kMasterTargetDiskLimit, "MASTER_TARGET_DISK_LIMIT", 0,
       "more than 60 disks would be attached to one master target",
       {"it already keeps many machines"}, "Choose another master target.", false},
      {ProblemId::kDatastoreNotAccessible, "DATASTORE_NOT_ACCESSIBLE", 8061,
       "the master target's host cannot reach the datastore",
       {"it is not mounted there, or read-only", "the path is mistyped"},
       "Mount it on the master target, or choose one of: homeward servers show.", false},
      {ProblemId::kRetentionDriveUnsuitable, "RETENTION_DRIVE_UNSUITABLE", 0,
       "the master target's retention volume has too little room",
       {"other data is on it", "retention is longer than the volume can hold"},
       "Free room on it, or choose another master target.", true},
      {ProblemId::kVmNameExists, "VM_NAME_EXISTS", 78052,
       "the datastore already has the disks of another machine, or the running ones of this, under "
       "this name",
       {"the directory is another machine's", "the machine runs from these very disks"},
       "Choose another directory: --directory.", false},
      {ProblemId::kDirectoryUnsuitable, "DIRECTORY_UNSUITABLE", 0,
       "the directory's name cannot be used",
       {"it has a slash, begins with a dot, or is longer than 80 characters"},
       "Give a plain name: --directory.", false},
      {ProblemId::kDiskUnknown, "DISK_UNKNOWN", 0, "the machine has no such disk",
       {"the name is mistyped", "the agent's configuration does not have it"},
       "See the machine's disks: homeward machines show.", false},
      {ProblemId::kDiskTooLarge, "DISK_TOO_LARGE", 0, "a VMDK holds at most 62 TiB",
       {"the disk is larger"}, "Leave the disk out: --disk.", false},
      {ProblemId::kReplicaFailed, "REPLICA_FAILED", 0,
       "the master target cannot do what the step needs", {"see the message"},
       "See the master target's log and its health: homeward servers show.", true},
      {ProblemId::kJobNotCancellable, "JOB_NOT_CANCELLABLE", 0,
       "the job has ended, or is past the step after which it must go on",
       {"the disks are being brought to the point"}, "Wait for its end.", false},
      {ProblemId::kJobCancelled, "JOB_CANCELLED", 0, "an operator cancelled the job",
       {"homeward jobs cancel"}, "Start it again when it is wanted.", false},
      {ProblemId::kRpoThreshold, "RPO_THRESHOLD", 0,
       "the newest recovery point is older than the threshold",
       {"the machine writes faster than the link carries", "a server on the way is down"},
       "See the process server's pending data: homeward servers show.", true},
      {ProblemId::kEnrolmentRefused, "ENROLMENT_REFUSED", 0,
       "a part did not show that it knows the passphrase",
       {"the passphrase was rotated", "the enrolment file is another server's"},
       "Make a new enrolment file: homeward enroll passphrase show.", false},
      {ProblemId::kForeignConfigServer, "FOREIGN_CONFIG_SERVER", 0,
       "this copy of the machine, or the machine itself, is not this server's",
       {"it is the copy that a failback left behind and that was started again"},
       "Turn this copy off. The machine lives where it was failed back to.", false},
  };
  return catalogue;
}

types::v1::Problem MakeProblem(ProblemId id, const std::string& message) {
  types::v1::Problem problem;
  for (const ProblemEntry& entry : ProblemCatalogue()) {
    if (entry.id != id) continue;
    problem.set_id(entry.name);
    problem.set_number(entry.number);
    problem.set_message(message);
    for (const std::string& cause : entry.causes) problem.add_causes(cause);
    problem.set_action(entry.action);
    problem.set_retryable(entry.retryable);
  }
  HW_CHECK(!problem.id().empty());
  return problem;
}

std::string ProblemsPage() {
  std::string page =
      "# Problems\n\nEverything that the configuration server refuses or reports, and what to do. "
      "Made from `config_server/model/problems.cc`;\na test keeps the two equal. Where the original "
      "has a number, it is given.\n";
  for (const ProblemEntry& entry : ProblemCatalogue()) {
    absl::StrAppend(&page, "\n## ", entry.name,
                    entry.number == 0 ? "" : absl::StrCat(" (", entry.number, ")"), "\n\n",
                    "When ", entry.when, ".\n\nLikely causes: ", absl::StrJoin(entry.causes, "; "),
                    ".\n\nWhat to do: ", entry.action,
                    entry.retryable ? "\n\nThe same request may succeed later.\n"
                                    : "\n\nTrying again without a change will not help.\n");
  }
  return page;
}

}  // namespace homeward
