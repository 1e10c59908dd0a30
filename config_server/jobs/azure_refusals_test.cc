// What is refused of a machine that is to live in Azure or does, and what its health says.
#include "absl/strings/match.h"
#include "tests/fakes/azure_fixture.h"

namespace homeward {
namespace {

class AzureRefusalsTest : public AzureFixture {};

TEST_F(AzureRefusalsTest, WhatAzureSaysOfAMachineThatLivesThere) {
  LiveInAzure();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "");
  ModelCloud::Vm& home = cloud.vms.begin()->second;
  for (const char* const off : {"stopped", "deallocated", "deallocating"}) {
    home.power = off;
    EXPECT_EQ(Refused(storage::v1::REPROTECT), "SOURCE_VM_NOT_RUNNING") << off;
  }
  home.power = "running";
  Stop();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "VM_UNREACHABLE_FROM_CS");
  const Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), storage::v1::REPROTECT);
  EXPECT_TRUE(absl::StrContains(refusal->message(), "runs")) << refusal->message();
  cloud.link = CloudState::Link::kDisconnected;
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "VM_UNREACHABLE_FROM_CS")
      << "by the agent alone, when nobody knows more";
  cloud.link = CloudState::Link::kConnected;
  const auto kept = cloud.vms;
  cloud.vms.clear();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AZURE_VM_GONE");
  cloud.moved_to = "/subscriptions/sub-1/resourceGroups/other/.../virtualMachines/web";
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AZURE_VM_MOVED");
  cloud.vms = kept;
  cloud.moved_to.clear();
  BootInAzure();
  Obey();
  Obey();
  Run("remove");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "PROTECTION_DISABLED");
  EXPECT_EQ(Refused(storage::v1::PROTECT), "PROTECTION_DISABLED");
}

TEST_F(AzureRefusalsTest, AnAgentThatIsAwaitedTooLongIsSaidToBeUnreachable) {
  Protect();
  Run("failover", "latest");
  Run("commit");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AGENT_NOT_REGISTERED");
  clock_.now += kRegistrationWindowDefault + absl::Minutes(1);
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "VM_UNREACHABLE_FROM_CS");
}

TEST_F(AzureRefusalsTest, WhatCannotBeReplicatedToAzureIsRefused) {
  Obey();
  Obey();
  PlacementWish wish;
  wish.location = storage::v1::AZURE_VM;
  EXPECT_EQ(RefusedFor(wish), "");
  wish.azure.site = "east";
  EXPECT_EQ(RefusedFor(wish), "AZURE_SITE_UNKNOWN");
  wish.azure.site = kSite;
  EXPECT_EQ(RefusedFor(wish), "");
  wish.azure.size = "Standard_Nothing";
  EXPECT_EQ(RefusedFor(wish), "AZURE_SIZE_UNSUITABLE");
  wish.azure.size = "Standard_B1s";
  EXPECT_EQ(RefusedFor(wish), "") << "it has no data disk, and needs none";
  wish.directory = "web";
  EXPECT_EQ(RefusedFor(wish), "DIRECTORY_UNSUITABLE");
  wish.directory.clear();
  wish.process_server = "nobody";
  EXPECT_EQ(RefusedFor(wish), "NOT_IN_DATABASE");
  wish.process_server.clear();
  cloud.link = CloudState::Link::kDisconnected;
  EXPECT_EQ(RefusedFor(wish), "AZURE_NOT_REACHED");
  cloud.link = CloudState::Link::kConnected;
  cloud.site.clear_default_size();
  wish.azure.size.clear();
  EXPECT_EQ(RefusedFor(wish), "AZURE_SIZE_UNSUITABLE") << "none is known";
  wish.azure.size = "Standard_D2s_v5";
  containers_ = {"https://another.blob.core.windows.net/c"};
  Obey();
  EXPECT_EQ(RefusedFor(wish), "AZURE_NO_PROCESS_SERVER");
  containers_ = {kContainer};
  Obey();
  EXPECT_EQ(RefusedFor(wish), "");
  storage::v1::Machine machine = Machine();
  types::v1::Disk* const disk = machine.mutable_registration()->mutable_disks(0);
  disk->set_logical_sector_bytes(4096);
  EXPECT_EQ(Place(brain_->MakeView(), machine, wish).refusal->id(), "SECTOR_SIZE_UNSUPPORTED");
  disk->set_logical_sector_bytes(512);
  disk->set_size_bytes(kPageBlobDiskBytesMax);
  EXPECT_FALSE(Place(brain_->MakeView(), machine, wish).refusal.has_value());
  disk->set_size_bytes(kPageBlobDiskBytesMax + 512);
  EXPECT_EQ(Place(brain_->MakeView(), machine, wish).refusal->id(), "DISK_TOO_LARGE");
  disk->set_size_bytes(512);
  wish.azure.size = "Standard_B1s";
  *machine.mutable_registration()->add_disks() = *disk;
  machine.mutable_registration()->mutable_disks(1)->set_name("/dev/sdb");
  EXPECT_EQ(Place(brain_->MakeView(), machine, wish).refusal->id(), "AZURE_SIZE_UNSUITABLE");
  cloud.has_site = false;
  EXPECT_EQ(RefusedFor(wish), "AZURE_SITE_UNKNOWN");
}

TEST_F(AzureRefusalsTest, FirmwareIsAsTheOperatorSaysElseAsTheVmHasElseAsTheAgentFound) {
  Obey();
  Obey();
  PlacementWish wish;
  wish.location = storage::v1::AZURE_VM;
  storage::v1::Machine machine = Machine();
  const auto uefi = [&](const std::string& vcenter, const std::string& agent) {
    machine.mutable_vm()->set_firmware(vcenter);
    machine.mutable_registration()->set_firmware(agent);
    const Placed placed = Place(brain_->MakeView(), machine, wish);
    EXPECT_FALSE(placed.refusal.has_value());
    return placed.placement.azure_vm().uefi();
  };
  EXPECT_FALSE(uefi("", "")) << "nobody knows";
  EXPECT_TRUE(uefi("", "efi"));
  EXPECT_FALSE(uefi("", "bios"));
  EXPECT_TRUE(uefi("efi", "bios"));
  EXPECT_FALSE(uefi("bios", "efi"));
  wish.azure.firmware = "bios";
  EXPECT_FALSE(uefi("efi", "efi"));
  wish.azure.firmware = "efi";
  EXPECT_TRUE(uefi("bios", "bios"));
}

TEST_F(AzureRefusalsTest, ASiteThatIsNotReachedKeepsTheMachineFromFailingOver) {
  Protect();
  cloud.link = CloudState::Link::kDisconnected;
  const Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), storage::v1::FAILBACK);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->id(), "AZURE_NOT_REACHED");
  const auto issues = JudgeMachine(brain_->MakeView(), Machine());
  EXPECT_EQ(issues.size(), 1u) << "health says it before it is needed";
}

TEST_F(AzureRefusalsTest, ASiteWhoseResourceGroupIsGoneKeepsWhatWouldBeMadeThereFromBeginning) {
  PlacementWish wish;
  wish.location = storage::v1::AZURE_VM;
  Obey();
  Obey();
  cloud.error = absl::NotFoundError("its resource group rg-1 is not there");
  EXPECT_EQ(RefusedFor(wish), "AZURE_SITE_WRONG");
  cloud.error = absl::OkStatus();
  Protect();
  EXPECT_EQ(Refused(storage::v1::FAILBACK), "");
  cloud.error = absl::NotFoundError("its resource group rg-1 is not there");
  const View view = brain_->MakeView();
  const Refusal refusal = CheckOperation(view, Machine(), storage::v1::FAILBACK);
  ASSERT_TRUE(refusal.has_value());
  EXPECT_EQ(refusal->id(), "AZURE_SITE_WRONG");
  EXPECT_TRUE(absl::StrContains(refusal->message(), "site west")) << refusal->message();
  EXPECT_TRUE(absl::StrContains(refusal->message(), "resource group rg-1")) << refusal->message();
  const Refusal test = RulesOf(Machine()).CheckTest(view, Machine(), "");
  ASSERT_TRUE(test.has_value());
  EXPECT_EQ(test->id(), "AZURE_SITE_WRONG");
  const auto issues = JudgeMachine(view, Machine());
  EXPECT_EQ(issues.size(), 1u) << "health says it before it is needed";
}

TEST_F(AzureRefusalsTest, AMachineWhoseResourceGroupIsGoneIsRefusedUntilItIsThereAgain) {
  LiveInAzure();
  const auto kept = cloud.vms;
  cloud.vms.clear();
  cloud.error = absl::NotFoundError("its resource group rg-1 is not there");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "AZURE_VM_GONE");
  cloud.vms = kept;
  cloud.error = absl::OkStatus();
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "");
}

TEST_F(AzureRefusalsTest, ACompletedMigrationIsNeverFailedBack) {
  Obey();
  EXPECT_EQ(Refused(storage::v1::COMPLETE_MIGRATION), "OPERATION_NOT_ALLOWED");
  LiveInAzure();
  Run("complete-migration");
  EXPECT_EQ(Refused(storage::v1::REPROTECT), "MIGRATION_COMPLETED");
  EXPECT_EQ(Refused(storage::v1::FAILBACK), "MIGRATION_COMPLETED");
  EXPECT_EQ(AllowedOperations(Machine()), std::vector({storage::v1::REMOVE}));
  Run("remove");
  EXPECT_EQ(cloud.vms.size(), 1u) << "it runs there";
}

TEST_F(AzureRefusalsTest, RefusalsCallItByItsWord) {
  Protect();
  EXPECT_EQ(OperationName(storage::v1::FAILBACK, Machine()), "failover");
  const auto job = Start("failover", "latest");
  ASSERT_TRUE(job.ok()) << job.status();
  const Refusal twice = CheckOperation(brain_->MakeView(), Machine(), storage::v1::FAILBACK);
  EXPECT_EQ(twice->id(), "JOB_RUNNING");
  storage::v1::Machine machine = Machine();
  machine.clear_job_id();
  const Refusal refused = CheckOperation(brain_->MakeView(), machine, storage::v1::FAILBACK);
  EXPECT_TRUE(absl::EndsWith(refused->message(), "does not allow failover")) << refused->message();
  EXPECT_EQ(OperationName(Finish(job->id())), "failover");
  Run("commit");
  Obey();
  EXPECT_EQ(OperationName(*brain_->FindJob(job->id())), "failover") << "whatever it does later";
  EXPECT_EQ(OperationName(storage::v1::FAILBACK, Machine()), "failback") << "it is there";
  EXPECT_EQ(OperationCalled("failover"), storage::v1::FAILBACK);
}

}  // namespace
}  // namespace homeward
