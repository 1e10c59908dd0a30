// The group `machines`, except for what places replicas.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::AcceptMachineRequest;
using admin::v1::CompleteMigrationRequest;
using admin::v1::FailbackRequest;
using admin::v1::RemoveRequest;
using admin::v1::RepairRequest;
using admin::v1::TestFailoverRequest;
using Stub = AdminClient::Stub;

void AddAccept(CommandLine* line, CLI::App* machines) {
  const auto accept = line->Show(
      machines,
      {"accept", "accept a copy that was refused with AGENT_CLONED as the machine from now on",
       "machines accept web-1 --copy 564d1f0c-5a52-4b6c-9b3a-0d6f6e1c2a11"},
      &Stub::AcceptMachine, FormatMachine);
  AddMachine(accept);
  AddText(accept, "--copy", &AcceptMachineRequest::mutable_copy,
          "hardware UUID or boot ID of the copy; needed if several were refused");
}

// One operation, which has a word for each direction.
void AddFailback(CommandLine* line, CLI::App* machines, const CommandText& text) {
  const auto failback = line->Start(machines, text, &Stub::Failback);
  AddMachine(failback);
  AddText(failback, "--point", &FailbackRequest::mutable_point,
          "the recovery point: latest, latest-app-consistent, or an ID from `points list`");
  AddFlag(failback, "--source-lost", &FailbackRequest::set_source_lost,
          "the source machine is gone: do not wait for its agent to send the last writes");
  AddFlag(failback, "--accept-not-one-instant", &FailbackRequest::set_accept_not_one_instant,
          "use the recovery point even if its data is not from a single instant");
  AddFlag(failback, "--discard-changes", &FailbackRequest::set_discard_changes,
          "the machine was failed over to Azure and not committed: make it anew from another "
          "recovery point, and lose what it has written since");
}

void AddTestFailover(CommandLine* line, CLI::App* machines) {
  const auto test =
      line->Start(machines,
                  {"test-failover",
                   "start a copy of a machine in an isolated network in Azure; replication goes on",
                   "machines test-failover web-1 --point latest --wait"},
                  &Stub::TestFailover);
  AddMachine(test);
  AddText(test, "--point", &TestFailoverRequest::mutable_point,
          "the recovery point: latest, latest-app-consistent, or an ID from `points list`");
  AddText(test, "--subnet", &TestFailoverRequest::mutable_subnet,
          "resource ID of an isolated subnet (default: the site's for tests)");
  AddFlag(test, "--accept-not-one-instant", &TestFailoverRequest::set_accept_not_one_instant,
          "use the recovery point even if its data is not from a single instant");
  AddMachine(line->Start(machines,
                         {"test-failover-cleanup", "remove the copy that a test failover started",
                          "machines test-failover-cleanup web-1 --wait"},
                         &Stub::TestFailoverCleanup));
}

void AddCompleteMigration(CommandLine* line, CLI::App* machines) {
  const auto complete =
      line->Start(machines,
                  {"complete-migration",
                   "let a machine stay in Azure for good; it can never be failed back after this",
                   "machines complete-migration web-1 --confirm"},
                  &Stub::CompleteMigration);
  AddMachine(complete);
  AddFlag(complete, "--confirm", &CompleteMigrationRequest::set_confirmed,
          "the machine is never to come home");
}

// Looks without --apply, and repairs with it.
void AddRepair(CommandLine* line, CLI::App* machines) {
  RepairRequest* const request = line->New<RepairRequest>();
  bool* const apply = line->New<bool>();
  bool* const wait = line->New<bool>();
  CLI::App* const repair = line->Add(
      machines,
      {"repair",
       "show what was changed by hand in a machine's VM; --apply restores what is recorded",
       "machines repair web-1 --apply --wait"},
      [=](Session& session) {
        return *apply ? session.Start(&Stub::Repair, *request, *wait)
                      : session.Show(&Stub::GetRepair, *request, FormatFindings);
      });
  AddMachine(Command<RepairRequest>{repair, request});
  CLI::Option* const applying = repair->add_flag(
      "--apply", *apply,
      "turn the VM off and attach its disks where the record says. If the machine is replicated to "
      "these disks, they are compared with it again and its recovery points are deleted");
  CommandLine::AddWait(repair, wait);
  repair->get_option("--wait")->needs(applying);
}

void AddRemove(CommandLine* line, CLI::App* machines) {
  const auto remove = line->Start(machines,
                                  {"remove", "stop protecting a machine and delete its replica",
                                   "machines remove web-1 --keep-disks"},
                                  &Stub::Remove);
  AddMachine(remove);
  AddFlag(remove, "--keep-disks", &RemoveRequest::set_keep_disks,
          "keep the replica's disks where they are");
}

}  // namespace

void AddMachineCommands(CommandLine* line) {
  CLI::App* const machines =
      line->Group("machines", "machines that are protected, and those that could be");
  line->Show(machines, {"list", "list all machines", "machines list"}, &Stub::ListMachines,
             FormatMachines);
  AddMachine(line->Show(
      machines,
      {"show", "show a machine with its disks, replica and health", "machines show web-1"},
      &Stub::GetMachine, FormatMachine));
  AddAccept(line, machines);
  AddPlacementCommands(line, machines);
  AddMachine(line->Start(
      machines,
      {"resync", "compare all of a machine's disks with its replica and send what differs",
       "machines resync web-1 --wait"},
      &Stub::Resync));
  AddMachine(line->Start(
      machines,
      {"rekey",
       "encrypt what a machine sends with a new key, and end the old one; begins encryption where "
       "there is none",
       "machines rekey web-1 --wait"},
      &Stub::Rekey));
  AddFailback(line, machines,
              {"failback", "bring a machine home at a recovery point",
               "machines failback web-1 --point latest --wait"});
  AddFailback(line, machines,
              {"failover", "start a machine in Azure at a recovery point",
               "machines failover web-1 --point latest --wait"});
  AddMachine(line->Start(
      machines,
      {"commit",
       "make a failover or a failback final; what the machine ran in in Azure is deleted. After "
       "this no other recovery point can be chosen",
       "machines commit web-1 --wait"},
      &Stub::Commit));
  AddTestFailover(line, machines);
  AddCompleteMigration(line, machines);
  AddRepair(line, machines);
  AddRemove(line, machines);
}

}  // namespace homeward
