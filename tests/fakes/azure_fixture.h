// AzureFixture: BrainFixture with a modelled vCenter and a modelled Azure, whose calls fail before
// and after their effect; one machine, which runs at home and is to be replicated to Azure. For
// tests.
#ifndef HOMEWARD_TESTS_FAKES_AZURE_FIXTURE_H_
#define HOMEWARD_TESTS_FAKES_AZURE_FIXTURE_H_

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/source.h"
#include "tests/fakes/brain_fixture.h"
#include "tests/fakes/model_cloud.h"
#include "tests/fakes/model_vcenter.h"

namespace homeward {

// Before the fixture, which is given them.
struct WithSites {
  ModelVcenter vcenter;
  ModelCloud cloud;
};

class AzureFixture : protected WithSites, public BrainFixture {
 protected:
  AzureFixture() : BrainFixture(&vcenter, &cloud) {
    target_uuid_ = kTargetUuid;
    hardware_uuid_ = kVmUuid;
    containers_ = {kContainer};
    wish_.location = storage::v1::AZURE_VM;
    vcenter.power_changed = [this](const vsphere::Vm& vm) {
      if (vm.instance_uuid != kVmInstance) return;
      // A machine whose VM is off says nothing; one that is started is another boot.
      if (vm.on()) {
        if (boots_) BootAtHome();
      } else if (hardware_uuid_ == kVmUuid) {
        Stop();
      }
    };
  }
  vsphere::Vm& vm() { return vcenter.world.vm(); }
  void Stop() {
    agent_runs_ = false;
    Hang();
  }
  // Its session ends, and it does not come again by itself.
  void Hang() {
    const auto session = sessions_.find(kMachine);
    if (session == sessions_.end()) return;
    const uint64_t number = session->second;
    sessions_.erase(session);
    brain_->fleet().Disconnect(kMachine, number);
  }
  void Boot(const std::string& hardware_uuid) {
    Hang();
    boot_id_ = absl::StrCat("boot-", ++boot_);
    hardware_uuid_ = hardware_uuid;
    agent_runs_ = true;
  }
  void BootAtHome() { Boot(kVmUuid); }
  // As long as it is the same VM it has the same UUID.
  void BootInAzure() { Boot(absl::StrCat("uuid of ", cloud.vms.begin()->first)); }

  void Protect() {
    Obey();
    Obey();
    Run("protect");
  }
  void LiveInAzure() {
    Protect();
    Run("failover", "latest");
    Run("commit");
    BootInAzure();
    Obey();
    Obey();
  }
  std::string NameInAzure() { return Machine().azure_vm().name(); }
  std::string RefusedFor(const PlacementWish& wish) {
    const Placed placed = Place(brain_->MakeView(), Machine(), wish);
    return placed.refusal ? placed.refusal->id() : "";
  }
  std::string Refused(storage::v1::Operation operation) {
    const Refusal refusal = CheckOperation(brain_->MakeView(), Machine(), operation);
    return refusal ? refusal->id() : "";
  }

  // The machine runs at one place at the most, and only what is recorded was made.
  void CheckWorld() {
    const storage::v1::Machine machine = Machine();
    ASSERT_EQ(vcenter.PlaceFault(machine), "");
    int run = vm().on() ? 1 : 0;
    for (const auto& [name, one] : cloud.vms) {
      if (one.power == "running" || one.power == "starting") ++run;
    }
    ASSERT_LE(run, 1) << "it runs at two sites";
    std::set<std::string> recorded;
    for (const storage::v1::AzureVm& one :
         {machine.azure_vm(), machine.assignment().placement().azure_vm()}) {
      recorded.insert(one.name());
      for (const storage::v1::AzureDisk& disk : one.disks()) recorded.insert(disk.name());
    }
    for (const auto& [name, one] : cloud.vms) ASSERT_TRUE(recorded.contains(name)) << name;
    for (const auto& [name, one] : cloud.disks) ASSERT_TRUE(recorded.contains(name)) << name;
  }
  storage::v1::Job FinishChecked(const std::string& job_id, unsigned kill_one_in) {
    for (int i = 0; i < 1500; ++i) {
      if (kill_one_in > 0 && random_() % kill_one_in == 0) {
        StartBrain();
        vcenter.ServerDied();
        cloud.ServerDied();
      }
      Obey();
      CheckWorld();
      if (HasFatalFailure()) return {};
      const storage::v1::Job job = *brain_->FindJob(job_id);
      if (job.state() != storage::v1::RUNNING) return job;
    }
    ADD_FAILURE() << "job " << job_id << " does not end: " << brain_->ProgressOf(job_id)->detail;
    return {};
  }
  storage::v1::Job RunChecked(const std::string& operation, unsigned kill_one_in) {
    // A server that has just started knows nobody yet.
    for (int i = 0; i < 3; ++i) Obey();
    const bool to_point = operation == "failover" || operation == "failback";
    const auto job = Start(operation, to_point ? "latest" : "");
    EXPECT_TRUE(job.ok()) << operation << ": " << job.status();
    return job.ok() ? FinishChecked(job->id(), kill_one_in) : storage::v1::Job();
  }

  int boot_ = 1;
  bool boots_ = true;  // the VM's guest, when that is turned on
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_AZURE_FIXTURE_H_
