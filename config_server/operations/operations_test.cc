#include "config_server/operations/operations.h"

#include <algorithm>
#include <functional>

#include "common/audit/audit_chain.h"
#include "common/wire/time_proto.h"
#include "config_server/store/audit_log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/brain_fixture.h"

namespace homeward {
namespace {

const Caller kOperator = {Role::kOperator, "operator-1", "10.0.0.9"};

class OperationsTest : public BrainFixture {
 protected:
  OperationsTest()
      : inventories_(clock_),
        strand_(MakeThreadStrand("test")),
        registrar_(*Registrar::Open(&brain_->store(), clock_, absl::Hours(1))),
        vcenters_(&brain_->store(), clock_, &inventories_, {}),
        followers_(clock_, "config-server", {}),
        sites_(&brain_->store(), clock_, &followers_, {.retry_limit = absl::ZeroDuration()}),
        operations_(strand_.get(), brain_.get(), registrar_.get(), &vcenters_, &sites_) {}
  ~OperationsTest() override { strand_->Stop(); }

  std::vector<std::string> Audited() {
    std::vector<std::string> texts;
    for (const storage::v1::Event& event : brain_->store().All<storage::v1::Event>()) {
      if (event.name() == "operator.request") texts.push_back(event.text());
    }
    return texts;
  }

  // Where nobody answers.
  static admin::v1::AddAzureSiteRequest AzureSite() {
    const std::string group = "/subscriptions/s/resourceGroups/g/providers/";
    admin::v1::AddAzureSiteRequest request;
    request.set_name("west");
    request.set_subscription("s");
    request.set_tenant("t");
    request.set_client_id("c");
    request.set_client_secret("never shown");
    request.set_resource_group("g");
    request.set_region("westeurope");
    request.set_subnet(group + "Microsoft.Network/virtualNetworks/n/subnets/one");
    request.set_storage_account(group + "Microsoft.Storage/storageAccounts/a");
    request.add_containers("https://a.example/homeward/");
    request.set_endpoint("https://127.0.0.1:1");
    request.set_authority("https://127.0.0.1:1");
    return request;
  }
  // As if Azure had been asked.
  void KeepAzureSite() {
    storage::v1::AzureSite site;
    site.set_name("west");
    storage::v1::AzureSecret secret;
    secret.set_client_secret("never shown");
    strand_->Run([&] {
      Store::Transaction transaction;
      transaction.Put("west", site);
      transaction.Put("west", secret);
      ASSERT_TRUE(brain_->store().Commit(transaction).ok());
    });
  }

  Inventories inventories_;
  std::unique_ptr<Strand> strand_;
  std::unique_ptr<Registrar> registrar_;
  Vcenters vcenters_;
  SiteFollowers followers_;
  AzureSites sites_;
  Operations operations_;
};

TEST_F(OperationsTest, NobodyButAnOperatorIsAnswered) {
  admin::v1::ListMachinesRequest request;
  admin::v1::ListMachinesResponse response;
  const auto ask = [&](const Caller& caller) {
    return operations_.Do(caller, &Operations::ListMachines, request, &response);
  };
  EXPECT_TRUE(ask(kOperator).ok());
  EXPECT_EQ(ask({}).code(), absl::StatusCode::kPermissionDenied);
  const absl::Status agent = ask({Role::kAgent, "agent-1", ""});
  EXPECT_EQ(agent.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_NE(agent.message().find("agent-1"), std::string::npos) << agent;
  admin::v1::Vcenter vcenter;
  EXPECT_EQ(operations_.AddVcenter({}, {}, &vcenter).code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(OperationsTest, AServerThatWasToldToMakeNoBackupsSaysSo) {
  admin::v1::ListBackupsResponse listed;
  EXPECT_EQ(IdOf(operations_.ListBackups(kOperator, {}, &listed)), "BACKUPS_NOT_CONFIGURED");
  admin::v1::Backup made;
  EXPECT_EQ(IdOf(operations_.CreateBackup(kOperator, {}, &made)), "BACKUPS_NOT_CONFIGURED");
  EXPECT_EQ(operations_.CreateBackup({}, {}, &made).code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(OperationsTest, WhatChangesSomethingIsAudited) {
  Obey();
  admin::v1::CommitRequest commit;
  commit.set_machine(kMachine);
  admin::v1::Job job;
  EXPECT_EQ(IdOf(operations_.Do(kOperator, &Operations::Commit, commit, &job)),
            "OPERATION_NOT_ALLOWED");
  EXPECT_TRUE(Audited().empty()) << "nothing was changed";
  admin::v1::Enrolment enrolment;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::ShowPassphrase, {}, &enrolment).ok());
  EXPECT_TRUE(Audited().empty()) << "nothing was changed";
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::RotatePassphrase, {}, &enrolment).ok());
  EXPECT_EQ(Audited(), std::vector<std::string>(
                           {"RotatePassphraseRequest by operator operator-1 from 10.0.0.9"}));
}

TEST_F(OperationsTest, WhatIsAuditedIsOfItsMachineAndItsJob) {
  Obey();
  Obey();
  Run("protect");
  admin::v1::ResyncRequest resync;
  resync.set_machine(Machine().registration().name());
  admin::v1::Job job;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::Resync, resync, &job).ok());
  admin::v1::ListEventsRequest request;
  request.set_machine(kMachine);
  admin::v1::ListEventsResponse events;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::ListEvents, request, &events).ok());
  const auto event = std::find_if(events.events().begin(), events.events().end(),
                                  [](const auto& one) { return one.name() == "operator.request"; });
  ASSERT_NE(event, events.events().end());
  EXPECT_EQ(event->job_id(), job.id());
  EXPECT_EQ(event->text(), "ResyncRequest by operator operator-1 from 10.0.0.9");
}

TEST_F(OperationsTest, TheAuditLogHasWhoAskedForWhatAndHowItEnded) {
  Obey();
  Obey();
  Run("protect");
  admin::v1::ResyncRequest resync;
  resync.set_machine(Machine().registration().name());
  admin::v1::Job job;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::Resync, resync, &job).ok());
  EXPECT_FALSE(operations_.Do(kOperator, &Operations::Resync, resync, &job).ok()) << "one runs";
  admin::v1::AzureSite site;
  EXPECT_FALSE(operations_.AddAzureSite(kOperator, AzureSite(), &site).ok());
  admin::v1::ListAuditResponse log;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::ListAudit, {}, &log).ok());
  AuditChain chain;
  std::vector<std::string> shown;
  for (const types::v1::AuditEntry& entry : log.entries()) {
    const absl::StatusOr<types::v1::AuditContent> says = chain.Follow(entry);
    ASSERT_TRUE(says.ok()) << says.status();
    EXPECT_EQ(says->caller(), "operator operator-1");
    EXPECT_EQ(says->address(), "10.0.0.9");
    EXPECT_EQ(entry.content().find("never shown"), std::string::npos);
    shown.push_back(absl::StrCat(types::v1::AuditContent::Kind_Name(says->kind()), " ",
                                 says->operation(), " ", says->asked(), " ", says->problem()));
  }
  EXPECT_EQ(log.head_hash(), chain.hash());
  EXPECT_THAT(
      shown, ::testing::ElementsAre("ASKED ResyncRequest 0 ", "DONE ResyncRequest 1 ",
                                    "ASKED ResyncRequest 0 ", "REFUSED ResyncRequest 3 JOB_RUNNING",
                                    "ASKED AddAzureSiteRequest 0 ",
                                    ::testing::StartsWith("REFUSED AddAzureSiteRequest 5")));
}

TEST_F(OperationsTest, TheAuditLogGoesOnAfterARestartAndItsOldestGo) {
  types::v1::AuditContent content;
  content.set_kind(types::v1::AuditContent::ASKED);
  Records records(clock_, *Store::Open(""));
  for (int i = 0; i < 3; ++i) AuditLog(clock_, &records, /*entries_max=*/4).Append(content);
  AuditLog log(clock_, &records, /*entries_max=*/4);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(log.Append(content), 4u + static_cast<uint64_t>(i));
  AuditChain chain;
  for (const types::v1::AuditEntry& entry : log.Read(1, 100)) EXPECT_TRUE(chain.Follow(entry).ok());
  EXPECT_EQ(chain.hash(), log.chain().hash());
  EXPECT_EQ(log.Read(1, 100).size(), 4u);
  EXPECT_EQ(log.Read(0, 2).size(), 2u);
  EXPECT_TRUE(log.Read(7, 100).empty());
}

TEST_F(OperationsTest, PointsOfAllMachinesAreOneJob) {
  Obey();
  Obey();
  admin::v1::CreatePointRequest request;
  request.set_all_machines(true);
  admin::v1::Job job;
  const auto ask = [&] {
    return operations_.Do(kOperator, &Operations::CreatePoint, request, &job);
  };
  EXPECT_EQ(IdOf(ask()), "NOT_PROTECTED");
  Run("protect");
  request.set_machine(kMachine);
  EXPECT_EQ(ask().code(), absl::StatusCode::kInvalidArgument);
  request.clear_machine();
  ASSERT_TRUE(ask().ok());
  EXPECT_EQ(job.machine_id(), "");
  EXPECT_EQ(Finish(job.id()).state(), storage::v1::SUCCEEDED);
  ASSERT_TRUE(operations_
                  .Do(
                      kOperator, &Operations::GetJob,
                      [&] {
                        admin::v1::GetJobRequest about;
                        about.set_job_id(job.id());
                        return about;
                      }(),
                      &job)
                  .ok());
  ASSERT_EQ(job.children_size(), 1);
  EXPECT_EQ(brain_->FindJob(job.children(0))->subject(), kMachine);
}

TEST_F(OperationsTest, APolicyIsMadeChangedFollowedAndDeleted) {
  Obey();
  Obey();
  admin::v1::CreatePolicyRequest create;
  create.set_name("gold");
  *create.mutable_policy()->mutable_point_interval() = ToProto(absl::Seconds(10));
  admin::v1::NamedPolicy gold;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::CreatePolicy, create, &gold).ok());
  EXPECT_EQ(FromProto(gold.policy().point_interval()), absl::Seconds(10));
  EXPECT_EQ(FromProto(gold.policy().rpo_threshold()), absl::Minutes(15)) << "the server's";
  admin::v1::ProtectRequest protect;
  protect.set_machine(kMachine);
  protect.set_policy_name("gold");
  *protect.mutable_policy()->mutable_retention_age() = ToProto(absl::Hours(2));
  admin::v1::Job job;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::Protect, protect, &job).ok());
  Finish(job.id());
  admin::v1::GetMachineRequest about;
  about.set_machine(kMachine);
  admin::v1::Machine shown;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::GetMachine, about, &shown).ok());
  EXPECT_EQ(shown.policy_name(), "gold");
  EXPECT_EQ(FromProto(shown.policy().point_interval()), absl::Seconds(10));
  EXPECT_FALSE(shown.own_policy().has_point_interval());
  EXPECT_EQ(FromProto(shown.own_policy().retention_age()), absl::Hours(2));
  admin::v1::DeletePolicyRequest remove;
  remove.set_name("gold");
  EXPECT_EQ(IdOf(operations_.Do(kOperator, &Operations::DeletePolicy, remove, &gold)),
            "POLICY_IN_USE");
  admin::v1::SetPolicyRequest set;
  set.set_machine(kMachine);
  set.set_policy_name("failback");
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::SetPolicy, set, &shown).ok());
  EXPECT_FALSE(shown.has_own_policy()) << "what was said before is forgotten";
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::DeletePolicy, remove, &gold).ok());
  admin::v1::ListPoliciesResponse all;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::ListPolicies, {}, &all).ok());
  ASSERT_EQ(all.policies_size(), 1);
  EXPECT_EQ(all.policies(0).name(), "failback");
  ASSERT_EQ(all.policies(0).machines_size(), 1);
}

TEST_F(OperationsTest, AMigrationIsNotCompletedUnlessItIsConfirmed) {
  Obey();
  storage::v1::Machine machine = Machine();
  machine.mutable_azure_vm()->set_name("web-g2");
  machine.set_state(storage::v1::COMMITTED);
  strand_->Run([&] {
    Store::Transaction transaction;
    transaction.Put(kMachine, machine);
    ASSERT_TRUE(brain_->store().Commit(transaction).ok());
  });
  admin::v1::CompleteMigrationRequest request;
  request.set_machine(kMachine);
  admin::v1::Job job;
  EXPECT_EQ(IdOf(operations_.Do(kOperator, &Operations::CompleteMigration, request, &job)),
            "MIGRATION_NOT_CONFIRMED");
  request.set_confirmed(true);
  EXPECT_TRUE(operations_.Do(kOperator, &Operations::CompleteMigration, request, &job).ok());
  EXPECT_EQ(job.workflow(), "complete-migration");
}

TEST_F(OperationsTest, AMachineIsProtectedToAzureOrADirectoryAndNothingElse) {
  Obey();
  Obey();
  admin::v1::ProtectRequest request;
  request.set_machine(kMachine);
  admin::v1::Job job;
  request.set_location(admin::v1::ORIGINAL_VM);
  EXPECT_EQ(operations_.Do(kOperator, &Operations::Protect, request, &job).code(),
            absl::StatusCode::kInvalidArgument);
  request.set_location(admin::v1::AZURE_VM);
  EXPECT_EQ(IdOf(operations_.Do(kOperator, &Operations::Protect, request, &job)),
            "AZURE_SITE_UNKNOWN");
  request.set_location(admin::v1::LOCATION_UNSPECIFIED);
  EXPECT_TRUE(operations_.Do(kOperator, &Operations::Protect, request, &job).ok());
}

TEST_F(OperationsTest, AProcessServerIsSwitchedToOneThatIsThere) {
  Obey();
  Obey();
  const auto change = [&](const std::string& machine, const std::string& from,
                          const std::string& to) {
    admin::v1::SwitchProcessServerRequest request;
    request.set_machine(machine);
    request.set_from(from);
    request.set_process_server(to);
    admin::v1::Job job;
    const absl::Status status =
        operations_.Do(kOperator, &Operations::SwitchProcessServer, request, &job);
    return absl::IsInvalidArgument(status) ? "invalid" : IdOf(status);
  };
  EXPECT_EQ(change("", "", ""), "invalid");
  EXPECT_EQ(change(kMachine, kServer, ""), "invalid");
  EXPECT_EQ(change("", kServer, kServer), "invalid");
  EXPECT_EQ(change("", kServer, ""), "NOT_PROTECTED");
  EXPECT_EQ(change(kMachine, "", ""), "OPERATION_NOT_ALLOWED");
  Run("protect");
  EXPECT_EQ(change(kMachine, "", kServer), "OPERATION_NOT_ALLOWED") << "it is with it already";
  EXPECT_EQ(change(kMachine, "", ""), "PROCESS_SERVER_DOWN") << "there is no other";
  servers_run_[kOtherServer] = true;
  Obey();
  EXPECT_EQ(change("", kServer, kOtherServer), "OK");
  EXPECT_EQ(change(kMachine, "", ""), "JOB_RUNNING") << "that of the server before";
  for (int i = 0; i < 20 && !Machine().job_id().empty(); ++i) Obey();
  EXPECT_EQ(change(kMachine, "", kServer), "OK");
  for (int i = 0; i < 20 && !Machine().job_id().empty(); ++i) Obey();
  EXPECT_EQ(Machine().assignment().placement().process_server_id(), kServer);
}

TEST_F(OperationsTest, AnAzureSiteThatDoesNotAnswerIsNotKept) {
  admin::v1::AzureSite site;
  EXPECT_EQ(operations_.AddAzureSite({}, AzureSite(), &site).code(),
            absl::StatusCode::kPermissionDenied);
  const absl::Status added = operations_.AddAzureSite(kOperator, AzureSite(), &site);
  EXPECT_EQ(IdOf(added), "AZURE_NOT_REACHED");
  EXPECT_EQ(added.ToString().find("never shown"), std::string::npos);
  admin::v1::ListAzureSitesResponse sites;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::ListAzureSites, {}, &sites).ok());
  EXPECT_EQ(sites.sites_size(), 0);
  EXPECT_FALSE(brain_->store().Get<storage::v1::AzureSecret>("west").has_value());
  EXPECT_TRUE(Audited().empty()) << "nothing was changed";
  admin::v1::AddAzureSiteRequest incomplete = AzureSite();
  incomplete.clear_client_secret();
  EXPECT_EQ(operations_.AddAzureSite(kOperator, incomplete, &site).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(OperationsTest, AnAzureSiteIsAddedOnceAndListed) {
  KeepAzureSite();
  admin::v1::AzureSite site;
  EXPECT_EQ(IdOf(operations_.AddAzureSite(kOperator, AzureSite(), &site)), "AZURE_SITE_EXISTS");
  admin::v1::ListAzureSitesResponse sites;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::ListAzureSites, {}, &sites).ok());
  ASSERT_EQ(sites.sites_size(), 1);
  EXPECT_EQ(sites.sites(0).name(), "west");
  EXPECT_EQ(sites.sites(0).machine_count(), 0u);
  EXPECT_EQ(sites.DebugString().find("never shown"), std::string::npos);
}

TEST_F(OperationsTest, AnAzureSiteThatAMachineNeedsIsNotRemoved) {
  Obey();
  KeepAzureSite();
  admin::v1::RemoveAzureSiteRequest request;
  request.set_name("east");
  admin::v1::AzureSite site;
  const auto remove = [&] {
    return IdOf(operations_.Do(kOperator, &Operations::RemoveAzureSite, request, &site));
  };
  EXPECT_EQ(remove(), "AZURE_SITE_UNKNOWN");
  request.set_name("west");
  // Replicated to it, living there, tested there.
  using Machine = storage::v1::Machine;
  const std::vector<std::function<storage::v1::AzureVm*(Machine*)>> needs = {
      [](Machine* machine) {
        return machine->mutable_assignment()->mutable_placement()->mutable_azure_vm();
      },
      [](Machine* machine) { return machine->mutable_azure_vm(); },
      [](Machine* machine) { return machine->mutable_test()->mutable_azure_vm(); }};
  const auto keep = [&](const Machine& machine) {
    strand_->Run([&] {
      Store::Transaction transaction;
      transaction.Put(kMachine, machine);
      ASSERT_TRUE(brain_->store().Commit(transaction).ok());
    });
  };
  const Machine before = Machine(*brain_->FindMachine(kMachine));
  for (const auto& need : needs) {
    Machine machine = before;
    machine.set_state(storage::v1::COMMITTED);
    need(&machine)->set_site("west");
    keep(machine);
    EXPECT_EQ(remove(), "AZURE_SITE_IN_USE");
    admin::v1::ListAzureSitesResponse sites;
    ASSERT_TRUE(operations_.Do(kOperator, &Operations::ListAzureSites, {}, &sites).ok());
    EXPECT_EQ(sites.sites(0).machine_count(), 1u);
  }
  Machine stays = before;
  stays.set_state(storage::v1::UNPROTECTED);
  needs[1](&stays)->set_site("west");
  keep(stays);  // for good: it needs nothing more
  EXPECT_EQ(remove(), "OK");
  EXPECT_EQ(site.name(), "west");
  EXPECT_FALSE(brain_->store().Get<storage::v1::AzureSite>("west").has_value());
  EXPECT_FALSE(brain_->store().Get<storage::v1::AzureSecret>("west").has_value());
  EXPECT_EQ(Audited().size(), 1u);
}

TEST_F(OperationsTest, RegistrationsAreOfAllMachinesOrOfOne) {
  const auto put = [this](const std::string& id, const std::string& name,
                          std::vector<absl::Duration> took) {
    storage::v1::Machine machine;
    machine.set_machine_id(id);
    machine.mutable_registration()->set_name(name);
    for (const absl::Duration one : took) {
      storage::v1::Boot& boot = *machine.add_boots();
      *boot.mutable_registered() = ToProto(clock_.Now());
      *boot.mutable_powered_on() = ToProto(clock_.Now() - one);
      clock_.now += absl::Minutes(10);
    }
    Store::Transaction transaction;
    transaction.Put(id, machine);
    strand_->Run([&] { ASSERT_TRUE(brain_->store().Commit(transaction).ok()); });
  };
  put("m1", "quick", {absl::Seconds(2), absl::Seconds(4)});
  put("m2", "slow", {absl::Seconds(3), absl::Minutes(2)});
  put("m3", "never", {});
  const auto ask = [this](const admin::v1::ListRegistrationsRequest& request) {
    admin::v1::ListRegistrationsResponse response;
    EXPECT_TRUE(operations_.Do(kOperator, &Operations::ListRegistrations, request, &response).ok());
    return response;
  };
  admin::v1::ListRegistrationsRequest request;
  const admin::v1::ListRegistrationsResponse all = ask(request);
  ASSERT_EQ(all.machines_size(), 2) << "of the third nothing is known";
  EXPECT_EQ(all.machines(0).name(), "slow");
  EXPECT_EQ(all.all().count(), 4u);
  EXPECT_EQ(FromProto(all.all().p50()), absl::Seconds(3));
  EXPECT_EQ(FromProto(all.all().max()), absl::Minutes(2));
  request.set_count_max(1);
  EXPECT_EQ(ask(request).machines_size(), 1);
  EXPECT_EQ(ask(request).machines_total(), 2u);
  EXPECT_EQ(ask(request).all().count(), 4u) << "of those that are not listed too";
  request.set_machine("quick");
  EXPECT_EQ(FromProto(ask(request).all().max()), absl::Seconds(4));
  request.clear_machine();
  *request.mutable_within() = ToProto(absl::Minutes(15));
  EXPECT_EQ(ask(request).all().count(), 1u) << "the others are longer ago";
}

TEST_F(OperationsTest, AMemberOfAGroupIsReprotectedThroughAPlanOnly) {
  Obey();
  Obey();
  Run("protect");
  Run("failback", "latest");
  Run("commit");
  BootAtHome();
  sessions_.erase(kMachine);
  Obey();
  admin::v1::CreateGroupRequest group;
  group.set_name("db");
  group.add_machines(kMachine);
  admin::v1::ReplicationGroup made;
  ASSERT_TRUE(operations_.Do(kOperator, &Operations::CreateGroup, group, &made).ok());
  const auto reprotect = [this] {
    admin::v1::ReprotectRequest request;
    request.set_machine(kMachine);
    request.set_directory("second");
    admin::v1::Job job;
    return operations_.Do(kOperator, &Operations::Reprotect, request, &job);
  };
  EXPECT_EQ(IdOf(reprotect()), "PLAN_REQUIRED");
  EXPECT_NE(reprotect().message().find("no recovery plan"), std::string::npos) << reprotect();
  admin::v1::ApplyPlanRequest apply;
  apply.mutable_plan()->set_name("shop");
  apply.mutable_plan()->add_groups()->add_machines(Machine().registration().name());
  admin::v1::RecoveryPlan plan;
  const absl::Status applied = operations_.Do(kOperator, &Operations::ApplyPlan, apply, &plan);
  ASSERT_TRUE(applied.ok()) << applied;
  EXPECT_EQ(plan.point(), "latest");
  EXPECT_NE(reprotect().message().find("plan shop"), std::string::npos) << reprotect();
  admin::v1::RunPlanRequest run;
  run.set_name("shop");
  run.set_operation(admin::v1::REPROTECT);
  admin::v1::Job job;
  EXPECT_EQ(IdOf(operations_.Do(kOperator, &Operations::RunPlan, run, &job)), "VM_NAME_EXISTS")
      << "it runs from that directory";
  run.set_directory("second");
  const absl::Status begun = operations_.Do(kOperator, &Operations::RunPlan, run, &job);
  ASSERT_TRUE(begun.ok()) << begun;
  EXPECT_EQ(job.plan(), "shop");
  EXPECT_EQ(Finish(job.id(), /*kill_one_in=*/0).state(), storage::v1::SUCCEEDED);
  EXPECT_EQ(Machine().state(), storage::v1::PROTECTED);
  EXPECT_EQ(Machine().assignment().placement().target().datastore_directory().directory(),
            Machine().registration().name() + "-second");
}

}  // namespace
}  // namespace homeward
