#include "config_server/model/cloud_plan.h"

#include "absl/strings/match.h"
#include "config_server/model/azure_record.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using StepKind = CloudStep::Kind;

class CloudPlanTest : public ::testing::Test {
 protected:
  CloudPlanTest() {
    move_.vm = "web-1";
    move_.nic = "web-1-nic";
    move_.resource_group = "rg";
    move_.disks = {{"web-1-disk0", "url0", 512}, {"web-1-disk1", "url1", 512}};
    move_.generation = 4;
    seen_.disks.resize(2);
  }
  CloudStep Next(CloudMove::Kind kind) {
    move_.kind = kind;
    return NextStep(move_, ours_, seen_);
  }
  CloudSeen::Resource Resource(const std::string& provisioning = "Succeeded") {
    return {ours_, provisioning, ""};
  }
  void MakeDisks() { seen_.disks = {Resource(), Resource()}; }
  void MakeVm(const std::string& power, const std::string& provisioning = "Succeeded") {
    MakeDisks();
    seen_.nic = Resource();
    seen_.vm.emplace();
    seen_.vm->tags = ours_;
    seen_.vm->provisioning = provisioning;
    seen_.vm->power = power;
    for (auto& disk : seen_.disks) disk->used_by = "web-1";
    seen_.nic->used_by = "web-1";
  }

  CloudMove move_;
  CloudSeen seen_;
  const CloudTags ours_ = TagsOf("cs", "m1", 4);
};

TEST_F(CloudPlanTest, DisksAreImportedOneByOneAndAwaited) {
  CloudStep step = Next(CloudMove::Kind::kCreateDisks);
  EXPECT_EQ(step.kind, StepKind::kCreateDisk);
  EXPECT_EQ(step.disk, 0u);
  seen_.disks[0] = Resource("Creating");
  EXPECT_EQ(Next(CloudMove::Kind::kCreateDisks).kind, StepKind::kAwait);
  seen_.disks[0] = Resource("Failed");
  EXPECT_EQ(Next(CloudMove::Kind::kCreateDisks).kind, StepKind::kDeleteDisk) << "it is made anew";
  seen_.disks[0] = Resource();
  step = Next(CloudMove::Kind::kCreateDisks);
  EXPECT_EQ(step.kind, StepKind::kCreateDisk);
  EXPECT_EQ(step.disk, 1u);
  MakeDisks();
  EXPECT_EQ(Next(CloudMove::Kind::kCreateDisks).kind, StepKind::kReached);
}

TEST_F(CloudPlanTest, ANameThatIsTakenIsRefusedAndSaysByWhom) {
  seen_.disks[0] = Resource();
  seen_.disks[0]->tags[kTagGeneration] = "3";
  const CloudStep step = Next(CloudMove::Kind::kCreateDisks);
  EXPECT_EQ(step.kind, StepKind::kRefused);
  EXPECT_TRUE(IsProblem(step.problem, ProblemId::kAzureNotOurs));
  EXPECT_TRUE(absl::StrContains(step.problem.message(), "web-1-disk0")) << step.problem.message();
  EXPECT_TRUE(absl::StrContains(step.problem.message(), "is 3, not 4")) << step.problem.message();
}

TEST_F(CloudPlanTest, AVmIsMadeFromItsDisksAndRuns) {
  EXPECT_EQ(Next(CloudMove::Kind::kCreateVm).kind, StepKind::kRefused) << "there are no disks";
  MakeDisks();
  EXPECT_EQ(Next(CloudMove::Kind::kCreateVm).kind, StepKind::kCreateNic);
  seen_.nic = Resource();
  EXPECT_EQ(Next(CloudMove::Kind::kCreateVm).kind, StepKind::kCreateVm);
  MakeVm("unknown", "Creating");
  EXPECT_EQ(Next(CloudMove::Kind::kCreateVm).kind, StepKind::kAwait);
  MakeVm("unknown", "Failed");
  EXPECT_EQ(Next(CloudMove::Kind::kCreateVm).kind, StepKind::kDeleteVm) << "it is made anew";
  MakeVm("deallocated");
  EXPECT_EQ(Next(CloudMove::Kind::kCreateVm).kind, StepKind::kStart);
  MakeVm("running");
  EXPECT_EQ(Next(CloudMove::Kind::kCreateVm).kind, StepKind::kReached);
}

TEST_F(CloudPlanTest, AVmIsShutDownThenDeallocatedAndSeenToBe) {
  const std::pair<const char*, StepKind> steps[] = {
      {"running", StepKind::kPowerOff},    {"stopping", StepKind::kAwait},
      {"stopped", StepKind::kDeallocate},  {"deallocating", StepKind::kAwait},
      {"deallocated", StepKind::kReached}, {"unknown", StepKind::kPowerOff}};
  for (const auto& [power, kind] : steps) {
    MakeVm(power);
    EXPECT_EQ(Next(CloudMove::Kind::kTurnOff).kind, kind) << power;
  }
  seen_.vm.reset();
  EXPECT_TRUE(IsProblem(Next(CloudMove::Kind::kTurnOff).problem, ProblemId::kAzureVmGone))
      << "it may run elsewhere";
  MakeVm("running");
  seen_.vm->tags.clear();
  EXPECT_TRUE(IsProblem(Next(CloudMove::Kind::kTurnOff).problem, ProblemId::kAzureNotOurs));
}

TEST_F(CloudPlanTest, OnlyWhatIsOursIsDeletedAndTheRestIsNamed) {
  MakeVm("running");
  EXPECT_EQ(Next(CloudMove::Kind::kDelete).kind, StepKind::kDeleteVm);
  seen_.vm.reset();
  seen_.nic->used_by.clear();
  EXPECT_EQ(Next(CloudMove::Kind::kDelete).kind, StepKind::kDeleteNic);
  seen_.nic.reset();
  // Somebody attached it to another VM.
  seen_.disks[0]->used_by = "other";
  seen_.disks[1]->used_by.clear();
  EXPECT_EQ(Next(CloudMove::Kind::kDelete).disk, 1u);
  seen_.disks[1]->tags[kTagMachine] = "m2";
  const CloudStep step = Next(CloudMove::Kind::kDelete);
  EXPECT_EQ(step.kind, StepKind::kReached);
  ASSERT_EQ(step.kept.size(), 2u);
  EXPECT_TRUE(absl::StrContains(step.kept[0], "web-1-disk0 (VM other uses it)")) << step.kept[0];
  EXPECT_TRUE(absl::StrContains(step.kept[1], "web-1-disk1")) << step.kept[1];
  EXPECT_TRUE(absl::StrContains(step.kept[1], "m2")) << step.kept[1];
}

TEST_F(CloudPlanTest, WhatAForeignVmUsesStays) {
  MakeVm("running");
  seen_.vm->tags[kTagConfigServer] = "another";
  const CloudStep step = Next(CloudMove::Kind::kDelete);
  EXPECT_EQ(step.kind, StepKind::kReached);
  EXPECT_EQ(step.kept.size(), 4u);
}

TEST(AzureRecord, NamesAreSuchAsAzureTakes) {
  storage::v1::Machine machine;
  machine.set_machine_id("0123456789abcdef0123456789abcdef");
  machine.set_generation(7);
  const auto named = [&](const char* name) {
    machine.mutable_registration()->set_name(name);
    return AzureNameOf(machine, machine.generation());
  };
  EXPECT_EQ(named("web-1"), "web-1-01234567-g7");
  EXPECT_EQ(named("web.example.org"), "web-example-org-01234567-g7");
  EXPECT_EQ(named("--\xc3\xbc_x"), "x-01234567-g7");
  EXPECT_EQ(named(""), "machine-01234567-g7");
  machine.set_generation(UINT64_MAX);
  storage::v1::AzureVm vm;
  machine.set_job_id("00001234");
  machine.mutable_registration()->set_name(std::string(200, 'n'));
  NameTestVm(machine, std::vector<std::string>(64, "url"), &vm);
  EXPECT_LE(vm.disks(63).name().size(), 80u);
  machine.set_generation(1000);
  NameAzureVm(machine, {"url"}, &vm);
  EXPECT_LE(vm.name().size(), 64u);
}

TEST_F(CloudPlanTest, VmThatAzureIsAtWorkOnIsNeitherOnNorOff) {
  for (const char* const provisioning : {"Updating", "Creating", "Deleting"}) {
    MakeVm("deallocated", provisioning);
    const CloudStep off = Next(CloudMove::Kind::kTurnOff);
    EXPECT_EQ(off.kind, StepKind::kAwait);
    EXPECT_TRUE(absl::StrContains(off.detail, provisioning)) << off.detail;
    MakeVm("running", provisioning);
    EXPECT_EQ(Next(CloudMove::Kind::kTurnOn).kind, StepKind::kAwait);
  }
  MakeVm("deallocated", "Failed");
  EXPECT_EQ(Next(CloudMove::Kind::kTurnOff).kind, StepKind::kReached);
}

}  // namespace
}  // namespace homeward
