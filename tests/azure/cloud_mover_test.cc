// CloudMover against the simulated Azure, and what Azure can do to it.
#include "config_server/inventory/cloud_mover.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/azure/site_fixture.h"

namespace homeward {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kGroup[] = "lab";

class CloudMoverTest : public SiteFixture {
 protected:
  void SetUp() override {
    SiteFixture::SetUp();
    AddSite();
    ASSERT_TRUE(AwaitLink(CloudState::Link::kConnected)) << State().error;
  }

  CloudMove Move(CloudMove::Kind kind, const std::string& job = "job-1") {
    CloudMove move;
    move.kind = kind;
    move.job_id = job;
    move.site = kSiteName;
    move.subscription = kSubscription;
    move.resource_group = kGroup;
    move.region = "westeurope";
    move.vm = "web-1";
    move.nic = "web-1-nic";
    move.size = "Standard_B1s";
    move.subnet = NetworkId("vnet", "prod");
    move.uefi = true;
    move.os_type = types::v1::LINUX;
    move.disks = {{"web-1-disk0", BlobUrl("os.vhd"), 1 << 20},
                  {"web-1-disk1", BlobUrl("data.vhd"), 1 << 20}};
    move.generation = 4;
    return move;
  }
  // Until it has ended.
  StepResult Run(const CloudMove& move) {
    StepResult result = StepResult::Wait("nothing was asked");
    EXPECT_TRUE(Eventually([&] {
      result = mover_->Do(kMachine, move);
      return result.state != StepResult::State::kWaiting;
    })) << result.detail;
    return result;
  }
  StepResult Run(CloudMove::Kind kind, const std::string& job = "job-1") {
    return Run(Move(kind, job));
  }
  static std::string Why(const StepResult& result) {
    if (result.done()) return "done";
    return result.problem.has_value()
               ? absl::StrCat(result.problem->id(), ": ", result.problem->message())
               : result.detail;
  }
  void MakeVm() {
    for (const auto kind : {CloudMove::Kind::kCreateDisks, CloudMove::Kind::kCreateVm}) {
      const StepResult made = Run(kind);
      ASSERT_TRUE(made.done()) << Why(made);
    }
  }
  std::string Power() {
    const auto view = Eyes().InstanceView(kGroup, "web-1");
    return view.ok() ? view->power : view.status().ToString();
  }
  // Names of all that is in the resource group.
  std::vector<std::string> Everything() {
    std::vector<std::string> names;
    const auto vms = Eyes().ListVms(kGroup);
    const auto nics = Eyes().ListInterfaces(kGroup);
    const auto disks = Eyes().ListDisks(kGroup);
    for (const azure::Vm& vm : *vms) names.push_back(vm.name);
    for (const azure::Interface& nic : *nics) names.push_back(nic.name);
    for (const azure::Disk& disk : *disks) names.push_back(disk.name);
    return names;
  }
  // As an operator or a script makes it.
  void MakeForeignDisk(const std::string& name) {
    azure::DiskSpec spec;
    spec.region = "westeurope";
    spec.source_uri = BlobUrl("data.vhd");
    spec.storage_account_id = AccountId("acct");
    spec.tags = {{"owner", "somebody"}};
    const auto made = Eyes().PutDisk(kGroup, name, spec);
    ASSERT_TRUE(made.ok()) << made.status();
  }
};

TEST_F(CloudMoverTest, VmIsMadeOfTheSnapshotsAndGoesThroughItsLife) {
  MakeVm();
  EXPECT_EQ(Power(), "running");
  const auto vm = Eyes().GetVm(kGroup, "web-1");
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(vm->size, "Standard_B1s");
  EXPECT_EQ(vm->tags, TagsOf(kConfigServer, kMachine, 4));
  EXPECT_TRUE(azure::SameResource(vm->os_disk.id, Eyes().DiskId(kGroup, "web-1-disk0")));
  ASSERT_THAT(vm->data_disks, SizeIs(1));
  EXPECT_FALSE(vm->data_disks[0].goes_along) << "what is deleted is looked at first";
  const auto boot = Eyes().GetDisk(kGroup, "web-1-disk0");
  EXPECT_EQ(boot->generation, "V2");
  EXPECT_EQ(boot->os_type, "Linux");
  EXPECT_EQ(boot->source_uri, BlobUrl("os.vhd"));
  EXPECT_EQ(Eyes().GetDisk(kGroup, "web-1-disk1")->os_type, "");
  EXPECT_TRUE(azure::SameResource(Eyes().GetInterface(kGroup, "web-1-nic")->subnet,
                                  NetworkId("vnet", "prod")));

  EXPECT_EQ(Why(Run(CloudMove::Kind::kTurnOff)), "done");
  EXPECT_EQ(Power(), "deallocated");
  EXPECT_EQ(Why(Run(CloudMove::Kind::kTurnOn)), "done");
  EXPECT_EQ(Power(), "running");
  const StepResult deleted = Run(CloudMove::Kind::kDelete);
  EXPECT_EQ(Why(deleted), "done");
  EXPECT_THAT(deleted.kept, IsEmpty());
  EXPECT_THAT(Everything(), IsEmpty());
}

TEST_F(CloudMoverTest, WhatIsAskedAgainIsNotDoneAgain) {
  MakeVm();
  const int puts = Calls("PUT virtualMachines");
  EXPECT_TRUE(mover_->Do(kMachine, Move(CloudMove::Kind::kCreateVm)).done());
  EXPECT_EQ(Why(Run(CloudMove::Kind::kCreateVm, "job-2")), "done");
  EXPECT_EQ(Calls("PUT virtualMachines"), puts);
}

TEST_F(CloudMoverTest, GuestThatWasShutDownIsDeallocatedToo) {
  MakeVm();
  Order(absl::StrCat(R"({"set_power": "stopped", "id": ")", Eyes().VmId(kGroup, "web-1"), "\"}"));
  EXPECT_EQ(Why(Run(CloudMove::Kind::kTurnOff)), "done");
  EXPECT_EQ(Power(), "deallocated");
  EXPECT_EQ(Calls("POST virtualMachines/powerOff"), 0) << "it is off already";
}

TEST_F(CloudMoverTest, VmThatAzureStillWorksOnIsNotOff) {
  MakeVm();
  ASSERT_TRUE(Eyes().Deallocate(kGroup, "web-1").ok());
  // Somebody changes it: Azure says deallocated, and Updating.
  Order(R"({"operation_ms": 1500})");
  azure::VmSpec spec;
  spec.region = "westeurope";
  spec.size = "Standard_D2s_v5";
  spec.os_disk = Eyes().DiskId(kGroup, "web-1-disk0");
  spec.data_disks = {Eyes().DiskId(kGroup, "web-1-disk1")};
  spec.interfaces = {Eyes().InterfaceId(kGroup, "web-1-nic")};
  spec.tags = TagsOf(kConfigServer, kMachine, 4);
  azure::ArmCall begin;
  begin.limit = absl::Milliseconds(500);
  (void)Eyes().PutVm(kGroup, "web-1", spec, begin);
  ASSERT_EQ(Eyes().GetVm(kGroup, "web-1")->provisioning_state, "Updating");
  ASSERT_EQ(Power(), "deallocated");
  bool waited = false;
  const CloudMove off = Move(CloudMove::Kind::kTurnOff);
  ASSERT_TRUE(Eventually([&] {
    const StepResult result = mover_->Do(kMachine, off);
    waited = waited || absl::StrContains(result.detail, "VM web-1 (Updating)");
    return result.done();
  }));
  EXPECT_TRUE(waited);
  EXPECT_EQ(Eyes().GetVm(kGroup, "web-1")->provisioning_state, "Succeeded");
}

TEST_F(CloudMoverTest, ForeignThingsOfTheSameNameAreNeverTouched) {
  MakeForeignDisk("web-1-disk1");
  const StepResult disks = Run(CloudMove::Kind::kCreateDisks);
  EXPECT_THAT(Why(disks), AllOf(HasSubstr("AZURE_NOT_OURS"), HasSubstr("web-1-disk1"),
                                HasSubstr("it has no tag homeward-config-server")));
  const StepResult deleted = Run(CloudMove::Kind::kDelete);
  EXPECT_TRUE(deleted.done()) << Why(deleted);
  EXPECT_THAT(deleted.kept, ElementsAre(AllOf(HasSubstr("disk web-1-disk1"),
                                              HasSubstr("it has no tag homeward-machine"))));
  EXPECT_THAT(Everything(), ElementsAre("web-1-disk1"));
  const auto foreign = Eyes().GetDisk(kGroup, "web-1-disk1");
  EXPECT_EQ(foreign->tags, (azure::Tags{{"owner", "somebody"}}));
  EXPECT_EQ(foreign->source_uri, BlobUrl("data.vhd"));
}

TEST_F(CloudMoverTest, VmOfAnotherGenerationIsNeitherTurnedOffNorDeleted) {
  MakeVm();
  CloudMove later = Move(CloudMove::Kind::kTurnOff);
  later.generation = 5;
  EXPECT_THAT(Why(Run(later)),
              AllOf(HasSubstr("AZURE_NOT_OURS"), HasSubstr("homeward-generation is 4, not 5")));
  later.kind = CloudMove::Kind::kDelete;
  const StepResult deleted = Run(later);
  EXPECT_TRUE(deleted.done());
  EXPECT_THAT(deleted.kept, SizeIs(4));
  EXPECT_EQ(Power(), "running");
  EXPECT_THAT(Everything(), SizeIs(4));
}

TEST_F(CloudMoverTest, DiskThatAnotherVmUsesIsKept) {
  MakeVm();
  ASSERT_TRUE(Eyes().DeleteVm(kGroup, "web-1").ok());
  azure::VmSpec spec;
  spec.region = "westeurope";
  spec.size = "Standard_B1s";
  spec.os_disk = Eyes().DiskId(kGroup, "web-1-disk0");
  spec.interfaces = {Eyes().InterfaceId(kGroup, "web-1-nic")};
  spec.tags = {{"owner", "somebody"}};
  ASSERT_TRUE(Eyes().PutVm(kGroup, "rescue", spec).ok());
  const StepResult deleted = Run(CloudMove::Kind::kDelete);
  EXPECT_TRUE(deleted.done()) << Why(deleted);
  EXPECT_THAT(deleted.kept,
              AllOf(SizeIs(2), Contains(HasSubstr("virtualMachines/rescue uses it"))));
  EXPECT_EQ(Eyes().InstanceView(kGroup, "rescue")->power, "running");
  EXPECT_THAT(Everything(), ElementsAre("rescue", "web-1-nic", "web-1-disk0"));
}

TEST_F(CloudMoverTest, VmThatIsGoneIsTold) {
  MakeVm();
  Order(absl::StrCat(R"({"remove": ")", Eyes().VmId(kGroup, "web-1"), "\"}"));
  EXPECT_THAT(Why(Run(CloudMove::Kind::kTurnOff)), HasSubstr("AZURE_VM_GONE"));
  EXPECT_EQ(Why(Run(CloudMove::Kind::kDelete)), "done");
  EXPECT_THAT(Everything(), IsEmpty()) << "disks and network card were left";
}

TEST_F(CloudMoverTest, StormsErrorsAndLostRepliesAreSurvived) {
  const std::string storm =
      R"("status": 429, "code": "TooManyRequests", "message": "slow", "retry_after_s": 0)";
  const auto meet = [&] {
    Fault(absl::StrCat("{\"count\": 6, ", storm, "}"));
    Fault(R"({"skip": 9, "count": 3, "status": 500, "code": "InternalServerError"})");
    for (const char* const method : {"PUT", "POST", "DELETE"}) {
      Fault(absl::StrCat(R"({"method": ")", method, R"(", "count": 2, "drop": "reply"})"));
      Fault(absl::StrCat(R"({"method": ")", method,
                         R"(", "skip": 3, "count": 1, "drop": "request"})"));
    }
    Order(R"({"revoke_tokens": true})");
  };
  meet();
  MakeVm();
  meet();
  EXPECT_EQ(Why(Run(CloudMove::Kind::kTurnOff)), "done");
  EXPECT_EQ(Power(), "deallocated");
  meet();
  EXPECT_EQ(Why(Run(CloudMove::Kind::kTurnOn)), "done");
  meet();
  EXPECT_EQ(Why(Run(CloudMove::Kind::kDelete)), "done");
  Order(R"({"clear_faults": true})");
  EXPECT_THAT(Everything(), IsEmpty());
}

TEST_F(CloudMoverTest, ServerErrorsThatLastAreOutlivedByTheMove) {
  // Longer than one question is tried.
  Fault(R"({"method": "PUT", "path": "/disks/", "status": 503, "code": "ServiceUnavailable"})");
  const CloudMove move = Move(CloudMove::Kind::kCreateDisks);
  ASSERT_TRUE(Eventually([&] {
    const StepResult result = mover_->Do(kMachine, move);
    return absl::StrContains(result.detail, "ServiceUnavailable") &&
           absl::StrContains(result.detail, "request ");
  })) << "what it waits for is told with Azure's code and request";
  Order(R"({"clear_faults": true})");
  EXPECT_EQ(Why(Run(move)), "done");
}

TEST_F(CloudMoverTest, NoCapacityFailsWithAzuresWordsAndIsUndone) {
  ASSERT_TRUE(Run(CloudMove::Kind::kCreateDisks).done());
  Fault(
      R"({"method": "PUT", "path": "/virtualMachines/", "count": 1, "operation": {
            "Code": "AllocationFailed", "Message": "There is no room for this size."}})");
  const StepResult result = Run(CloudMove::Kind::kCreateVm);
  EXPECT_EQ(result.state, StepResult::State::kFailed);
  EXPECT_THAT(Why(result), AllOf(HasSubstr("AZURE_TASK_FAILED"), HasSubstr("AllocationFailed"),
                                 HasSubstr("There is no room"), HasSubstr("request ")));
  // A VM that failed is made anew.
  EXPECT_EQ(Why(Run(CloudMove::Kind::kCreateVm, "job-2")), "done");
  EXPECT_EQ(Power(), "running");
  EXPECT_EQ(Why(Run(CloudMove::Kind::kDelete)), "done");
  EXPECT_THAT(Everything(), IsEmpty());
}

TEST_F(CloudMoverTest, ResourceGroupThatIsNotThereIsToldOfTheSite) {
  Fault(kGroupIsGone);
  const StepResult result = Run(CloudMove::Kind::kCreateDisks);
  EXPECT_EQ(result.state, StepResult::State::kFailed);
  EXPECT_THAT(Why(result), AllOf(HasSubstr("AZURE_SITE_WRONG"), HasSubstr("Resource group 'lab'")));
  EXPECT_EQ(Why(Run(CloudMove::Kind::kDelete)), "done") << "it is undone";
}

TEST_F(CloudMoverTest, VmThatFailsEachTimeIsGivenUp) {
  ASSERT_TRUE(Run(CloudMove::Kind::kCreateDisks).done());
  Fault(
      R"({"method": "PUT", "path": "/virtualMachines/", "operation": {
            "Code": "VMStartTimedOut", "Message": "It did not start."}})");
  const StepResult result = Run(CloudMove::Kind::kCreateVm);
  EXPECT_THAT(Why(result), AllOf(HasSubstr("AZURE_TASK_FAILED"), HasSubstr("VMStartTimedOut")));
  EXPECT_EQ(Calls("PUT virtualMachines"), patience_.faults);
}

TEST_F(CloudMoverTest, UndoingIsNeverGivenUp) {
  MakeVm();
  Fault(
      R"({"method": "DELETE", "status": 403, "code": "AuthorizationFailed", "message": "not you"})");
  CloudMove undo = Move(CloudMove::Kind::kDelete);
  undo.for_ever = true;
  const int before = Calls("DELETE virtualMachines");
  ASSERT_TRUE(Eventually([&] {
    EXPECT_EQ(mover_->Do(kMachine, undo).state, StepResult::State::kWaiting);
    return Calls("DELETE virtualMachines") > before + patience_.faults;
  }));
  // While it tries, it says what; then how that ended.
  EXPECT_TRUE(Eventually(
      [&] { return absl::StrContains(mover_->Do(kMachine, undo).detail, "AuthorizationFailed"); }));
  Order(R"({"clear_faults": true})");
  EXPECT_EQ(Why(Run(undo)), "done");
  EXPECT_THAT(Everything(), IsEmpty());
  // The same of one that is no undoing.
  Fault(R"({"method": "PUT", "status": 403, "code": "AuthorizationFailed", "message": "not you"})");
  EXPECT_THAT(Why(Run(CloudMove::Kind::kCreateDisks)), HasSubstr("AZURE_LOGIN"));
}

TEST_F(CloudMoverTest, RestartInTheMiddleGoesOn) {
  Order(R"({"operation_ms": 300})");
  const auto kinds = {CloudMove::Kind::kCreateDisks, CloudMove::Kind::kCreateVm,
                      CloudMove::Kind::kTurnOff, CloudMove::Kind::kTurnOn,
                      CloudMove::Kind::kDelete};
  for (const CloudMove::Kind kind : kinds) {
    // Killed while Azure is at work on it, again and again.
    const CloudMove move = Move(kind);
    int kills = 0;
    ASSERT_TRUE(Eventually([&] {
      const int before = Calls("GET operation");
      StepResult result;
      if (!Eventually([&] {
            result = mover_->Do(kMachine, move);
            return result.state != StepResult::State::kWaiting || Calls("GET operation") > before;
          }))
        return false;
      if (result.state != StepResult::State::kWaiting) {
        EXPECT_TRUE(result.done()) << Why(result);
        return true;
      }
      ++kills;
      Close();
      Open();
      return false;
    }));
    EXPECT_GT(kills, 0);
  }
  EXPECT_THAT(Everything(), IsEmpty());
  EXPECT_EQ(Calls("PUT virtualMachines"), 1);
  EXPECT_EQ(Calls("PUT disks"), 2);
}

TEST_F(CloudMoverTest, EndComesSoonWhileAzureWorks) {
  Order(R"({"operation_ms": 600000})");
  const CloudMove move = Move(CloudMove::Kind::kCreateDisks);
  const int before = Calls("GET operation");
  ASSERT_TRUE(Eventually([&] {
    (void)mover_->Do(kMachine, move);
    return Calls("GET operation") > before;
  }));
  const RealClock clock;
  const absl::Duration begun = clock.Monotonic();
  Close();
  EXPECT_LT(clock.Monotonic() - begun, absl::Seconds(5));
}

TEST_F(CloudMoverTest, AnotherMoveEndsTheOneBefore) {
  Order(R"({"operation_ms": 1000})");
  const CloudMove create = Move(CloudMove::Kind::kCreateDisks);
  const int before = Calls("PUT disks");
  ASSERT_TRUE(Eventually([&] {
    (void)mover_->Do(kMachine, create);
    return Calls("PUT disks") > before;
  }));
  EXPECT_EQ(Why(Run(CloudMove::Kind::kDelete)), "done");
  EXPECT_THAT(Everything(), IsEmpty()) << "it saw what the one before had begun";
}

TEST_F(CloudMoverTest, SiteThatIsNotKnownIsTold) {
  CloudMove move = Move(CloudMove::Kind::kCreateDisks);
  move.site = "nowhere";
  EXPECT_THAT(Why(Run(move)), HasSubstr("AZURE_SITE_UNKNOWN"));
}

TEST_F(CloudMoverTest, AzureThatIsNotReachedFailsTheMoveAfterAWhile) {
  Fault(R"({"drop": "request"})");
  const CloudMove move = Move(CloudMove::Kind::kCreateDisks);
  ASSERT_TRUE(Eventually([&] {
    return absl::StrContains(mover_->Do(kMachine, move).detail, "read virtualMachines");
  }));
  clock_.Pass(patience_.unreachable);
  EXPECT_THAT(Why(Run(move)), HasSubstr("AZURE_NOT_REACHED"));
}

}  // namespace
}  // namespace homeward
