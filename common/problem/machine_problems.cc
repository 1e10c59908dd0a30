#include "absl/strings/str_cat.h"
#include "common/base/limits.h"
#include "common/problem/catalogue.h"

namespace homeward {
namespace {

using enum ProblemId;

std::vector<ProblemEntry> Machines() {
  return {
      {.id = kAgentNotRegistered,
       .name = "AGENT_NOT_REGISTERED",
       .when = "the machine was booted, and its agent has not registered since",
       .causes = {"the machine is still booting", "the agent service does not run",
                  "the machine cannot reach the configuration server"},
       .action = absl::StrCat("Wait: after a boot a registration takes up to ",
                              absl::ToInt64Minutes(kRegistrationWindowDefault),
                              " minutes. Then try again. If it takes longer, read the agent's log "
                              "on the machine."),
       .retryable = true},
      {.id = kAgentNotConnected,
       .name = "VM_UNREACHABLE_FROM_CS",
       .number = 95226,
       .of = "a machine",
       .when = "the agent has registered before, and is not connected now",
       .causes = {"the machine is off", "the agent service does not run",
                  "the network between the machine and the configuration server is down"},
       .action = "Start the machine and its agent, and check the network. Then try again.",
       .retryable = true},
      {.id = kNotInDatabase,
       .name = "NOT_IN_DATABASE",
       .of = "a machine",
       .when = "the machine is not in this configuration server's database",
       .causes = {"the name is wrong", "its agent has never registered here",
                  "it was protected by another configuration server"},
       .action = "Choose one of: homeward machines list. If the machine is missing there, install "
                 "its agent and enrol it with this configuration server."},
      {.id = kServerNotInDatabase,
       .name = "NOT_IN_DATABASE",
       .of = "a server",
       .when = "the process server or master target is not in this configuration server's database",
       .causes = {"the name is wrong", "it has never registered here",
                  "it is a server of the other role"},
       .action = "Choose one of: homeward servers list. If the server is missing there, enrol it "
                 "with this configuration server and start it."},
      {.id = kJobNotInDatabase,
       .name = "NOT_IN_DATABASE",
       .of = "a job",
       .when = "the job is not in this configuration server's database",
       .causes = {"the id is wrong", "it is a job of another configuration server"},
       .action = "Choose one of: homeward jobs list."},
      {.id = kAmbiguousName,
       .name = "AMBIGUOUS_NAME",
       .when = "several machines or servers have this name",
       .causes = {"two hosts were given the same name"},
       .action = "Use the id instead of the name. The message lists the ids."},
      {.id = kWrongState,
       .name = "OPERATION_NOT_ALLOWED",
       .when = "the machine's protection state does not allow this operation",
       .causes = {"another operation has to come first"},
       .action = "See which operations are allowed now: homeward machines show."},
      {.id = kCannotEncrypt,
       .name = "STREAM_CANNOT_BE_ENCRYPTED",
       .when =
           "a stream is to be encrypted, and somebody on its way does not know encrypted "
           "batches; where that is the process server, it is given nothing of a stream that was "
           "encrypted before",
       .causes = {"the agent, process server or master target that the message names is of an "
                  "older version, or was set back to one"},
       .action = "Update it, or choose another process server (homeward machines "
                 "switch-process-server). Then try again."},
      {.id = kNotEncrypted,
       .name = "STREAM_NOT_ENCRYPTED",
       .when = "a machine's stream is to be encrypted, and is sent in the clear",
       .causes = {"it was protected before that was wanted, or while something on its way was of "
                  "an older version"},
       .action = "Give it a data key: homeward machines rekey."},
      {.id = kJobRunning,
       .name = "JOB_RUNNING",
       .when = "another job works on this machine",
       .causes = {"an earlier command has not ended"},
       .action = "Wait for it (homeward jobs watch) or cancel it (homeward jobs cancel). Then try "
                 "again.",
       .retryable = true},
      {.id = kNotProtected,
       .name = "NOT_PROTECTED",
       .when = "failback needs the state Protected",
       .causes = {"the first synchronisation has not ended", "the machine was never protected"},
       .action = "Protect the machine, or wait until its synchronisation has ended."},
      {.id = kHealthNotOk,
       .name = "HEALTH_NOT_OK",
       .when = "failback needs a replica in good health",
       .causes = {"the machine's health errors say it"},
       .action = "Correct what homeward machines show lists under health. Then try again.",
       .retryable = true},
      {.id = kOsNotSupportedForFailback,
       .name = "OS_NOT_SUPPORTED_FOR_FAILBACK",
       .when = "the machine's operating system cannot come back from Azure",
       .causes = {"it is a physical machine with Windows Server 2008 R2 SP1"},
       .action = "Keep it in Azure, or move its work to a machine with a newer system."},
      {.id = kHypervTarget,
       .name = "HYPERV_TARGET",
       .when = "a machine comes back to VMware only, never to Hyper-V",
       .causes = {"the location hyperv was chosen"},
       .action = "Choose another location: original, alternate or directory."},
      {.id = kNotCommitted,
       .name = "NOT_COMMITTED",
       .when = "the failback has to be committed before the machine is reprotected",
       .causes = {"nobody has committed it yet"},
       .action = "Check that the machine runs as it should. Then: homeward machines commit."},
      {.id = kMachineRunning,
       .name = "MACHINE_RUNNING",
       .when = "the machine runs, or may have run, from the disks that another point would "
               "overwrite",
       .causes = {"its agent registered after the failback", "its disks were given back to its VM"},
       .action = "Commit the failback. To take another point now would lose what the machine has "
                 "written since."},
      {.id = kForeignConfigServer,
       .name = "FOREIGN_CONFIG_SERVER",
       .when = "this copy of the machine is not the one that this configuration server protects",
       .causes = {"it is the copy that a failback left behind, and somebody started it again"},
       .action = "Turn this copy off. The machine runs where it was failed back to."},
      {.id = kAgentCloned,
       .name = "AGENT_CLONED",
       .when = "a copy of a machine registers with the machine's identity",
       .causes = {"the VM was cloned, or restored beside the original, with its agent and the "
                  "agent's state",
                  "the machine's disks were put into other hardware",
                  "the machine was reverted to a snapshot of its memory"},
       .action = "If the copy is to be a machine of its own, stop its agent and run on it: "
                 "homeward-agent --config FILE --enrol_anew. If the copy is to be the machine from "
                 "now on, turn the other one off and run: homeward machines accept MACHINE. "
                 "Otherwise turn the copy off."},
      {.id = kCopyNotChosen,
       .name = "COPY_NOT_CHOSEN",
       .when = "no copy of the machine asks to be accepted, or several do",
       .causes = {"the copy's agent does not run, or was not refused within the last 40 s",
                  "several clones run with the machine's identity"},
       .action = "See the refused copies: homeward machines show. Name one by its hardware UUID or "
                 "boot id: --copy."},
  };
}

std::vector<ProblemEntry> Disks() {
  return {
      {.id = kDiskUnknown,
       .name = "DISK_UNKNOWN",
       .of = "no such disk",
       .when = "the machine has no disk of that name",
       .causes = {"the name is mistyped", "the agent's configuration does not name the disk"},
       .action = "See the machine's disks: homeward machines show."},
      {.id = kDiskNotProtectable,
       .name = "DISK_UNKNOWN",
       .of = "a disk that cannot be protected",
       .when = "the machine has the disk, and its agent cannot protect it",
       .causes = {"the message says why"},
       .action = "Correct what the message names, or leave the disk out: --disk."},
      {.id = kNoDisk,
       .name = "DISK_UNKNOWN",
       .of = "no disk at all",
       .when = "the agent registered without any disk",
       .causes = {"it can protect none of the machine's disks",
                  "its configuration names disks that are not there"},
       .action = "See why under Unusable disk: homeward machines show. Or name the disks under "
                 "disks in the agent's configuration, and restart it."},
      {.id = kDiskTooLarge,
       .name = "DISK_TOO_LARGE",
       .of = "a VMDK",
       .when = absl::StrCat("a VMDK holds at most ", kVmdkTebibytesMax, " TiB"),
       .causes = {"the disk is larger"},
       .action = "Leave the disk out: --disk."},
      {.id = kSectorSizeUnsupported,
       .name = "SECTOR_SIZE_UNSUPPORTED",
       .when = "the disk and the one that would receive it have different sector sizes, so that "
               "the partition table could not be read there",
       .causes = {"the disk has sectors of 4096 bytes (4Kn) and was to become a VMDK, which has "
                  "sectors of 512 bytes",
                  "the block device that was named has another sector size than the disk"},
       .action = "Use a block device of the master target with the same sector size: "
                 "--block-device (homeward servers show lists them). Or leave the disk out: "
                 "--disk."},
  };
}

std::vector<ProblemEntry> Points() {
  return {
      {.id = kNoRecoveryPoint,
       .name = "NO_RECOVERY_POINT",
       .when = "the machine has no recovery point of the wanted kind",
       .causes = {"the first synchronisation has not ended",
                  "no application-consistent point was made, because the agent's hooks are not "
                  "configured"},
       .action = "Wait for a point (homeward points list), or choose another kind.",
       .retryable = true},
      {.id = kPointNotFound,
       .name = "POINT_NOT_FOUND",
       .when = "the chosen recovery point does not exist",
       .causes = {"retention has dropped it", "the id is mistyped"},
       .action = "Choose one of: homeward points list."},
      {.id = kPointRequired,
       .name = "POINT_REQUIRED",
       .when = "no recovery point was chosen",
       .causes = {"--point was left out"},
       .action = "Give --point latest, --point latest-app-consistent, or a point's id."},
      {.id = kPointNotOneInstant,
       .name = "POINT_NOT_ONE_INSTANT",
       .when = "something went on writing while the recovery point was read, so the point may hold "
               "a later write without an earlier one",
       .causes = {"a program writes to the disk itself, and not through a file system",
                  "the machine swaps to the disk",
                  "a file system on the disk cannot be frozen, or did not stand still in time"},
       .action = "Stop or pause the writer that the message names, or name its service under "
                 "pause_services in the agent's configuration. Then make another point. Or choose "
                 "another point: homeward points list. If nothing else is left, fail back with "
                 "--accept-not-one-instant, and check the machine's file systems and data before "
                 "it is used.",
       .retryable = true},
      {.id = kRpoThreshold,
       .name = "RPO_THRESHOLD",
       .when = "the newest recovery point is older than the threshold",
       .causes = {"the machine writes faster than the link can carry",
                  "a server between the machine and its replica is down"},
       .action = "See how much data waits at the process server: homeward servers show. The "
                 "threshold is the policy's: homeward policies show.",
       .retryable = true},
  };
}

std::vector<ProblemEntry> Policies() {
  return {
      {.id = kPolicyUnknown,
       .name = "POLICY_UNKNOWN",
       .when = "there is no replication policy of that name",
       .causes = {"the name is mistyped", "it was deleted"},
       .action = "Choose one of: homeward policies list. Or make it: homeward policies create."},
      {.id = kPolicyExists,
       .name = "POLICY_EXISTS",
       .when = "there is a replication policy of that name",
       .causes = {"it was created before"},
       .action = "Change it (homeward policies change), or choose another name."},
      {.id = kPolicyInUse,
       .name = "POLICY_IN_USE",
       .when = "a replication policy cannot be deleted as long as machines follow it",
       .causes = {"the machines that the message names follow it"},
       .action = "Give them another one: homeward machines set-policy. Then try again."},
      {.id = kPolicyBuiltIn,
       .name = "POLICY_BUILT_IN",
       .when = "the replication policy \"failback\" cannot be deleted",
       .causes = {"machines for which nobody names a policy follow it"},
       .action = "Change it instead: homeward policies change failback."},
      {.id = kPolicyInterval,
       .name = "POLICY_INTERVAL_UNSUITABLE",
       .when = absl::StrCat(
           "the intervals of a replication policy do not fit together, or are too short: at least ",
           absl::ToInt64Seconds(kPointIntervalMin), " s in a policy, and ",
           absl::ToInt64Seconds(kOwnPointIntervalMin), " s for one machine alone"),
       .causes = {"an interval is too short, or longer than a year",
                  "application-consistent points would be made more often than crash-consistent "
                  "ones",
                  "the RPO threshold is shorter than the time between two points, so that it would "
                  "always be an alert"},
       .action = "Correct what the message names: --point-interval, --app-point-interval or "
                 "--rpo-threshold."},
      {.id = kPolicyRetention,
       .name = "POLICY_RETENTION_UNSUITABLE",
       .when = absl::StrCat("recovery points would be gone before the next one is made, or may "
                            "take less than ",
                            kRetentionBytesMin / kMiB, " MiB"),
       .causes = {"--retention is shorter than the time between two points",
                  "--retention-bytes is given in another unit than bytes"},
       .action =
           "Keep points longer (--retention), give them more room (--retention-bytes; 0 is no "
           "limit), or make them more often."},
  };
}

std::vector<ProblemEntry> Groups() {
  return {
      {.id = kGroupUnknown,
       .name = "GROUP_UNKNOWN",
       .when = "there is no replication group of that name",
       .causes = {"the name is mistyped", "it was deleted"},
       .action = "Choose one of: homeward groups list. Or make it: homeward groups create."},
      {.id = kGroupExists,
       .name = "GROUP_EXISTS",
       .when = "there is a replication group of that name",
       .causes = {"it was created before"},
       .action = "Change it (homeward groups change), or choose another name."},
      {.id = kGroupOfAnother,
       .name = "MACHINE_IN_ANOTHER_GROUP",
       .when = "a machine is a member of one replication group at the most",
       .causes = {"it is a member of the group that the message names"},
       .action = "Take it out of that group first: homeward groups change."},
      {.id = kGroupInterval,
       .name = "GROUP_INTERVAL_UNSUITABLE",
       .when = absl::StrCat("common points would be made more often than every ",
                            absl::ToInt64Seconds(kPointIntervalMin),
                            " s, or less often than once a year"),
       .causes = {"an interval is too short, or longer than a year"},
       .action = "Correct --point-interval or --app-point-interval. 0 makes common points only "
                 "when they are asked for."},
      {.id = kGroupMixedOs,
       .name = "MIXED_OS_GROUP",
       .when = "the members of a replication group have one type of operating system",
       .causes = {"Linux and Windows machines are in it, and each type has master targets of its "
                  "own"},
       .action = "Make a group for each type."},
      {.id = kGroupMasterTarget,
       .name = "GROUP_MASTER_TARGET",
       .when = "the members of a replication group have one master target",
       .causes = {"its members are replicated to different master targets"},
       .action = "Protect them again with one master target for all: --master-target."},
      {.id = kCommonPointMissed,
       .name = "COMMON_POINT_MISSED",
       .when = "the members of a replication group took no common recovery point; each goes on "
               "with points of its own",
       .causes = {"a member is not protected, is being synchronised, or is not connected",
                  "a member could not stand still in time, or something wrote to its disks while "
                  "it should: a file system or a device that cannot be frozen",
                  "an application's script took too long"},
       .action = "See which member, and why: homeward groups show. Correct that; the next common "
                 "point is tried by itself.",
       .retryable = true},
  };
}

std::vector<ProblemEntry> Plans() {
  return {
      {.id = kPlanUnknown,
       .name = "PLAN_UNKNOWN",
       .when = "there is no recovery plan of that name",
       .causes = {"the name is mistyped", "it was deleted"},
       .action = "Choose one of: homeward plan list. Or make it: homeward plan apply."},
      {.id = kPlanRunning,
       .name = "PLAN_RUNNING",
       .when = "the recovery plan is being run",
       .causes = {"one run of a plan has not ended; it may wait for an operator"},
       .action = "See how far it is: homeward jobs show. Wait for its end, or end it: homeward "
                 "plan stop."},
      {.id = kPlanNotWaiting,
       .name = "PLAN_NOT_WAITING",
       .when = "no step of the recovery plan waits for this answer",
       .causes = {"the plan is not being run", "its run is at a step that goes on by itself",
                  "an action by hand is done or not, and cannot be tried again"},
       .action = "See what its run waits for: homeward jobs show. To end a run at any step: "
                 "homeward jobs cancel."},
      {.id = kPlanRequired,
       .name = "PLAN_REQUIRED",
       .when = "a member of a replication group is reprotected together with the others only",
       .causes = {"the machine is a member of the group that the message names"},
       .action = "Reprotect the group through a plan that has all of its members: homeward plan "
                 "run NAME --as reprotect. To make one: homeward plan apply FILE. Or take the "
                 "machine out of the group: homeward groups change."},
      {.id = kPlanLacksMember,
       .name = "PLAN_LACKS_MEMBER",
       .when = "the recovery plan has some members of a replication group, and not all",
       .causes = {"a machine became a member after the plan was written"},
       .action = "Add the machine to the plan (homeward plan export, homeward plan apply), or take "
                 "it out of the group: homeward groups change."},
      {.id = kPlanRefused,
       .name = "PLAN_REFUSED",
       .when = "several things keep the recovery plan from being run; nothing was touched",
       .causes = {"the message has each, with its own name"},
       .action = "Correct each of them as its own entry says. Then look again: homeward plan "
                 "check.",
       .retryable = true},
      {.id = kPlanScriptFailed,
       .name = "PLAN_SCRIPT_FAILED",
       .when = "a script of the recovery plan failed, could not be started, or took too long",
       .causes = {"it ended with another code than 0", "it was still running at its timeout",
                  "it is not in the directory of scripts (plans.scripts_directory), or others than "
                  "root and the server's user can change it"},
       .action = "See what it printed: homeward jobs show. Correct it, then: homeward plan retry; "
                 "or go on without it: homeward plan continue.",
       .retryable = true},
      {.id = kPlanStepFailed,
       .name = "PLAN_STEP_FAILED",
       .when = "jobs of machines of the recovery plan failed",
       .causes = {"the message names the machines and what each job says"},
       .action = "Correct what the jobs say, then: homeward plan retry, which begins those that "
                 "failed again; or go on without them: homeward plan continue.",
       .retryable = true},
  };
}

std::vector<ProblemEntry> Jobs() {
  return {
      {.id = kJobNotCancellable,
       .name = "JOB_NOT_CANCELLABLE",
       .when = "the job has ended, or is past the step after which it must go on",
       .causes = {"it ended by itself meanwhile",
                  "the machine is being started at the recovery point"},
       .action = "See how far it is: homeward jobs show. A job that must go on can only be waited "
                 "for."},
      {.id = kJobCancelled,
       .name = "JOB_CANCELLED",
       .when = "an operator cancelled the job",
       .causes = {"homeward jobs cancel"},
       .action = "Start it again when it is wanted."},
      {.id = kWaitedTooLong,
       .name = "WAITED_TOO_LONG",
       .when = "the job waited for one thing for too long, and nothing moved meanwhile",
       .causes = {"what it waited for is gone or cannot be reached; the message names it",
                  "a server or an agent that has to do the next step is stopped"},
       .action = "Correct what the message names. Then start the job again.",
       .retryable = true},
  };
}

}  // namespace

std::vector<ProblemEntry> MachineProblems() {
  std::vector<ProblemEntry> all = Machines();
  for (const auto& part : {Disks(), Points(), Policies(), Groups(), Plans(), Jobs()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace homeward
