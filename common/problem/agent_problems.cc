#include "common/problem/catalogue.h"

namespace homeward {

using enum ProblemId;

std::vector<ProblemEntry> AgentProblems() {
  return {
      {.id = kConfigServerUnreachable,
       .name = "CONFIG_SERVER_UNREACHABLE",
       .when = "the agent is not connected to the configuration server",
       .causes = {"the configuration server is down", "the network between the two is down",
                  "the agent's certificate is not accepted any more"},
       .action = "Check that the configuration server runs and that the machine reaches it. The "
                 "agent's log has the error. Replication goes on meanwhile.",
       .retryable = true},
      {.id = kAgentCannotProtect,
       .name = "AGENT_CANNOT_PROTECT",
       .when = "a disk that is to be replicated cannot be opened, or the agent does not have it",
       .causes = {"the disk is not attached to the machine",
                  "the agent's configuration does not name it any more",
                  "something else holds the disk"},
       .action = "Attach the disk, or correct the agent's configuration and restart the agent. The "
                 "agent tries again every second.",
       .retryable = true},
      {.id = kDiskUnusable,
       .name = "DISK_UNUSABLE",
       .when = "a disk of the machine cannot be protected, and the machine is replicated without "
               "it, if at all",
       .causes = {"it has no size now, is read-only or removable, or could not be opened",
                  "it is one of several paths to a disk"},
       .action = "Correct what the message names: the agent takes the disk when it can be used. If "
                 "the disk does not matter, name those that do under disks in the agent's "
                 "configuration.",
       .retryable = true},
      {.id = kDiskAway,
       .name = "DISK_AWAY",
       .when = "a disk that is replicated is not there now, and nothing is replicated meanwhile",
       .causes = {"it was detached", "what it is connected through has failed"},
       .action = "Check the disk and its connection. When it is back, all of it is compared with "
                 "the replica, and replication goes on by itself. The recovery points stay.",
       .retryable = true},
      {.id = kDiskResized,
       .name = "DISK_RESIZED",
       .when = "a disk that is replicated has another size than its replica, and nothing is "
               "replicated meanwhile",
       .causes = {"somebody enlarged or shrank it", "another disk has its name now"},
       .action = "Give the disk its earlier size again: replication then goes on by itself. To "
                 "keep the new size, remove the protection (homeward machines remove) and protect "
                 "the machine again. That destroys all its recovery points: if one of them may "
                 "still be needed, fail back to it first."},
      {.id = kStreamRefused,
       .name = "STREAM_REFUSED",
       .when = "the process server or the master target does not take the machine's data",
       .causes = {"a disk has another size than its replica",
                  "another copy of the machine replicates now", "the replica cannot be used now"},
       .action = "Read the message, and the machine's other health errors: homeward machines show. "
                 "A refusal that is over soon needs nothing: the agent tries again.",
       .retryable = true},
      {.id = kChangesWithoutData,
       .name = "CHANGES_WITHOUT_DATA",
       .when =
           "more was written than can be sent now, so the agent remembers only where, and reads "
           "it again",
       .causes = {"the machine writes faster than the network carries",
                  "the process server is slow or cannot be reached"},
       .action = "Check the process server, and the network to it. The next recovery point needs a "
                 "short stand-still of the disks. It is over when the agent has caught up.",
       .retryable = true},
      {.id = kChangesCoarsened,
       .name = "CHANGES_COARSENED",
       .when =
           "more was written than the agent can remember exactly, so it will send more than was "
           "written",
       .causes = {"the machine writes faster than the network carries",
                  "the process server was away for long"},
       .action = "Check the process server, and the network to it. It is over when the agent has "
                 "caught up.",
       .retryable = true},
      {.id = kSynchronisationStandsStill,
       .name = "SYNCHRONISATION_STANDS_STILL",
       .when = "the synchronisation makes no progress",
       .causes = {"the process server is slow or cannot be reached",
                  "the machine writes faster than the network carries"},
       .action = "Check the process server, and the network to it. If both are well, reduce what "
                 "is written to the disks until the synchronisation has ended.",
       .retryable = true},
      {.id = kMountDoesNotAnswer,
       .name = "MOUNT_DOES_NOT_ANSWER",
       .when = "a file system or a service on the disks cannot be brought to rest for a recovery "
               "point",
       .causes = {"a file system of the network does not answer",
                  "pause_services in the agent's configuration names a service that is not there"},
       .action = "Check on the machine what the message names. If it is a service, correct "
                 "pause_services in the agent's configuration. Points are made without it until "
                 "then.",
       .retryable = true},
      {.id = kHookFailed,
       .name = "HOOK_FAILED",
       .when = "a program that the agent runs around a recovery point failed",
       .causes = {"it ended with an error", "it took longer than hooks.timeout",
                  "its path is wrong, or it cannot be executed"},
       .action = "Correct the program that the agent's configuration names under hooks.",
       .retryable = true},
      {.id = kAppConsistencyFailed,
       .name = "APP_CONSISTENCY_FAILED",
       .when = "an application-consistent point was wanted, and it is crash-consistent only",
       .causes = {"a script of the agent's consistency.scripts_directory, or its hook pre_freeze, "
                  "ended with an error or took too long",
                  "others than root can change a script, which is therefore not run",
                  "the agent has neither scripts nor a hook pre_freeze",
                  "the point was not made within consistency.total_timeout"},
       .action = "Read the message, and the agent's log, which has what the script printed "
                 "(consistency.script). Correct what it names; the next application-consistent "
                 "point that is made ends this. Crash-consistent points are made meanwhile.",
       .retryable = true},
      {.id = kGuestStepFailed,
       .name = "GUEST_STEP_FAILED",
       .when =
           "something that the machine needs in its present location could not be changed in it",
       .causes = {"a command of its system failed or took too long",
                  "its package sources cannot be reached from here"},
       .action = "Read the message, and the agent's log, which has what the command printed "
                 "(guest.command). Correct what it names, or do the step by hand: the agent tries "
                 "again, at least every 15 minutes. Replication goes on meanwhile. To have the "
                 "agent change nothing: guest { steps: NONE } in its configuration.",
       .retryable = true},
      {.id = kGuestFilesChanged,
       .name = "GUEST_FILES_CHANGED",
       .when = "files that the agent set aside, or wrote, for another location were changed by "
               "somebody meanwhile, and are left as they are",
       .causes = {"somebody changed the machine's network, or the configuration of VMware Tools, "
                  "while it was in Azure"},
       .action = "Choose for each file that the message names: remove the one that is to go, which "
                 "is the changed one or the one that was kept. The agent looks again, at least "
                 "every 15 minutes.",
       .retryable = true},
      {.id = kBootDependsOnDiskNames,
       .name = "BOOT_DEPENDS_ON_DISK_NAMES",
       .when = "the machine mounts or boots from disks by names that are others in Azure",
       .causes = {"/etc/fstab, /etc/crypttab or the boot loader names a device such as /dev/sda1"},
       .action =
           "Name the disks by UUID, LABEL or PARTUUID (blkid shows them), then write the boot "
           "loader's configuration anew (update-grub). Without that the machine may not boot "
           "after a failover to Azure."},
      {.id = kHypervDriversMissing,
       .name = "HYPERV_DRIVERS_MISSING",
       .when = "a kernel of the machine would not find its disks or its network in Azure",
       .causes = {"its initramfs was made for this machine's present hardware only"},
       .action = "Add hv_vmbus, hv_storvsc and hv_netvsc to the initramfs (Debian: a line each in "
                 "/etc/initramfs-tools/modules, then update-initramfs -u -k all; with dracut: "
                 "add_drivers in /etc/dracut.conf.d, then dracut -f --regenerate-all). The agent "
                 "looks again every 6 hours and at its start."},
  };
}

}  // namespace homeward
