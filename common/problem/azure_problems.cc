#include "absl/strings/str_cat.h"
#include "common/base/limits.h"
#include "common/problem/catalogue.h"

namespace homeward {
namespace {

using enum ProblemId;

std::vector<ProblemEntry> Sites() {
  return {
      {.id = kAzureSiteUnknown,
       .name = "AZURE_SITE_UNKNOWN",
       .when =
           "the configuration server does not know that Azure site, or it is not clear which is "
           "meant",
       .causes = {"it was never added, or was removed", "the name is mistyped",
                  "there are several, and none was named"},
       .action =
           "Choose one of: homeward azure list, with --azure-site. If it is missing there, add "
           "it: homeward azure add."},
      {.id = kAzureSiteExists,
       .name = "AZURE_SITE_EXISTS",
       .when = "an Azure site of that name was added before",
       .causes = {"the name is taken"},
       .action =
           "See homeward azure list. A site is described anew, as with another secret, by adding "
           "it again with the same subscription, resource group, region and storage account. "
           "Another place needs another name."},
      {.id = kAzureSiteInUse,
       .name = "AZURE_SITE_IN_USE",
       .when = "an Azure site cannot be removed as long as machines need it",
       .causes = {"a machine is replicated to it", "a machine lives there"},
       .action = "Fail the machine back and commit, or remove its protection. Then try again."},
      {.id = kAzureSiteWrong,
       .name = "AZURE_SITE_WRONG",
       .when = "what an Azure site names is not there in Azure, or does not fit together",
       .causes = {"the resource group, a subnet or the storage account is mistyped, or was deleted",
                  "the network or the storage account is in another region than the site",
                  "a container is not one of the storage account"},
       .action = "Correct what the message names. Then try again."},
      {.id = kAzureNotReached,
       .name = "AZURE_NOT_REACHED",
       .when = "Azure's resource manager, or who gives tokens for it, does not answer",
       .causes = {"the network between the configuration server and Azure, or its proxy, is down",
                  "the endpoint of the site is wrong",
                  "its certificate is not signed by a CA that is trusted: --ca-file",
                  "it takes no more requests of this subscription for a while",
                  "Azure has an outage"},
       .action = "Restore the connection. homeward azure list says when it is back.",
       .retryable = true},
      {.id = kAzureLogin,
       .name = "AZURE_LOGIN",
       .when = "Azure does not accept the application's secret, or does not let it do this",
       .causes = {"the secret has expired, or is another application's",
                  "the application has no role on the resource group or on the subnet"},
       .action = "Check the application's secret, and that it has the role Contributor on the "
                 "resource group and may join the subnets. Then remove the site and add it again."},
      {.id = kAzureTaskFailed,
       .name = "AZURE_TASK_FAILED",
       .when = "Azure refused what was asked of it, or failed to do it",
       .causes = {"a quota of the subscription is used up",
                  "the region has no VM of that size left", "a policy or a lock forbids it",
                  "the message says more, in Azure's own words"},
       .action = "Correct what the message names. Then try again.",
       .retryable = true},
      {.id = kAzureNoReceiver,
       .name = "AZURE_NO_PROCESS_SERVER",
       .when = "no process server can write the page blobs of the site",
       .causes = {"none has the site's container in its configuration",
                  "the one that has it is not connected, or could not list the container"},
       .action =
           "Name the container in the process server's configuration (azure.storage), and look "
           "at its health: homeward servers show."},
      {.id = kAzureSizeUnknown,
       .name = "AZURE_SIZE_UNSUITABLE",
       .when = "no VM of that size can be made for the machine",
       .causes = {"the name is mistyped", "the region does not have it",
                  "it takes fewer data disks than the machine has"},
       .action = "Choose another one with --azure-size, or replicate fewer disks."},
      {.id = kAzureNotOurs,
       .name = "AZURE_NOT_OURS",
       .when = "something in Azure that has a name of the machine's was not made for it, or is not "
               "there any more",
       .causes = {"somebody made it, or changed or removed its tags", "somebody deleted it"},
       .action = "Look at what the message names. What is not ours is never changed: rename or "
                 "remove it, or give it back its tags. Then try again."},
  };
}

std::vector<ProblemEntry> MachinesThere() {
  return {
      {.id = kAzureVmGone,
       .name = "AZURE_VM_GONE",
       .when = "the VM that the machine lives in was deleted in Azure",
       .causes = {"somebody deleted it"},
       .action =
           "If the machine is protected, fail it back with --source-lost. Otherwise it cannot "
           "be failed back any more: restore it in Azure, and protect it anew."},
      {.id = kAzureVmMoved,
       .name = "AZURE_VM_MOVED",
       .when =
           "the VM that the machine lives in was moved to another resource group or subscription",
       .causes = {"somebody moved it"},
       .action = "Move it back to the resource group that it was made in. Then try again."},
      {.id = kMigrationCompleted,
       .name = "MIGRATION_COMPLETED",
       .when = "the machine's migration to Azure was completed, so it is never failed back",
       .causes = {"an operator completed it"},
       .action =
           "None: this cannot be undone. To protect it anew, as another machine, remove it here "
           "and install its agent again."},
      {.id = kProtectionDisabled,
       .name = "PROTECTION_DISABLED",
       .when =
           "the machine's protection was removed while it lived in Azure, so it cannot be failed "
           "back",
       .causes = {"an operator removed it"},
       .action =
           "None: this cannot be undone. To protect it anew, as another machine, remove it here "
           "and install its agent again."},
      {.id = kSourceVmNotRunning,
       .name = "SOURCE_VM_NOT_RUNNING",
       .number = 78093,
       .when = "the machine that is to be replicated is off",
       .causes = {"somebody stopped or deallocated its VM", "it was stopped to save money"},
       .action = "Start the VM in Azure, and wait until its agent has registered. Then try again."},
      {.id = kAzureVmUnreachable,
       .name = "VM_UNREACHABLE_FROM_CS",
       .number = 95226,
       .of = "a VM in Azure",
       .when = "Azure says that the VM runs, and its agent is not connected",
       .causes = {"its network cannot reach the configuration server: no VPN, a network security "
                  "group, a name that is not resolved",
                  "the agent service does not run", "the machine hangs at boot"},
       .action = "Look at the VM's boot diagnostics and its network, and start its agent. Then try "
                 "again.",
       .retryable = true},
      {.id = kDiskTooLargeForBlob,
       .name = "DISK_TOO_LARGE",
       .of = "a disk in Azure",
       .when = absl::StrCat("a disk does not fit into a page blob, which holds at most ",
                            kPageBlobTebibytesMax, " TiB"),
       .causes = {"the disk is larger"},
       .action = "Leave the disk out: --disk."},
      {.id = kTestSubnetUnsuitable,
       .name = "TEST_SUBNET_UNSUITABLE",
       .when = "a copy of the machine must not be started in the network of the machine",
       .causes = {"the site has no subnet for tests", "the subnet is that of failovers"},
       .action =
           "Name an isolated subnet with --subnet, or add the site again with --test-subnet."},
      {.id = kTestFailoverLeft,
       .name = "TEST_FAILOVER_LEFT",
       .when = "a copy of the machine that was started to test it is still there",
       .causes = {"its test failover was not cleaned up"},
       .action = "Remove it: homeward machines test-failover-cleanup. Then try again."},
      {.id = kMigrationNotConfirmed,
       .name = "MIGRATION_NOT_CONFIRMED",
       .when = "completing a migration cannot be undone, and was not confirmed",
       .causes = {"--confirm was not given"},
       .action = "If the machine is never to come home, repeat it with --confirm."},
  };
}

}  // namespace

std::vector<ProblemEntry> AzureProblems() {
  std::vector<ProblemEntry> problems = Sites();
  for (ProblemEntry& entry : MachinesThere()) problems.push_back(std::move(entry));
  return problems;
}

}  // namespace homeward
