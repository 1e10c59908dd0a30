// Scenarios, as topology.h has them.
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/config/config.h"
#include "common/wire/time_proto.h"
#include "deploy/lab/topology/quality.h"
#include "deploy/lab/topology/topology.h"

namespace homeward::lab {
namespace {

using google::protobuf::Message;

constexpr char kPlaceholder[] = "{machine}";
constexpr absl::Duration kTimeLimit = absl::Minutes(10);
constexpr absl::Duration kWithin = absl::Minutes(2);

class ScenarioCheck {
 public:
  ScenarioCheck(const v1::Topology& topology, ConfigProblems* problems)
      : topology_(topology), problems_(*problems) {
    for (const v1::Machine& machine : topology.machines()) machines_.insert(machine.name());
    for (const v1::Site& site : topology.sites()) {
      for (const v1::Host& host : site.hosts()) {
        hosts_.insert(host.name());
        if (host.has_vcenter()) vcenters_.insert(host.name());
        has_azure_ = has_azure_ || host.has_azure();
      }
    }
  }

  void Run(const v1::Scenario& scenario) {
    if (scenario.steps().empty()) problems_.Add("steps", "there is none");
    RequirePositive("time_limit", scenario.time_limit(), scenario.has_time_limit(), &problems_);
    for (int i = 0; i < scenario.steps_size(); ++i)
      CheckStep(absl::StrCat("steps[", i, "]"), scenario.steps(i));
  }

 private:
  void CheckStep(const std::string& key, const v1::Step& step) {
    RequirePositive(absl::StrCat(key, ".within"), step.within(), step.has_within(), &problems_);
    for_machines_ = step.for_machines();
    if (!for_machines_.empty()) {
      bool any = false;
      for (const std::string& machine : machines_) any = any || IsMeant(for_machines_, machine);
      if (!any)
        problems_.Add(absl::StrCat(key, ".for_machines"),
                      absl::StrCat("no machine's name is like \"", for_machines_, "\""));
    }
    switch (step.action_case()) {
      case v1::Step::kCommand:
        return CheckCommand(absl::StrCat(key, ".command"), step.command());
      case v1::Step::kAwait:
        CheckMachine(absl::StrCat(key, ".await.machine"), step.await().machine());
        if (step.await().state_case() == v1::Await::STATE_NOT_SET)
          problems_.Add(absl::StrCat(key, ".await"), "says nothing that could be awaited");
        return;
      case v1::Step::kLedger:
        return CheckMachine(absl::StrCat(key, ".ledger.machine"), step.ledger().machine());
      case v1::Step::kTestCopy:
        CheckMachine(absl::StrCat(key, ".test_copy.machine"), step.test_copy().machine());
        if (step.test_copy().expectation_case() == v1::TestCopyCheck::EXPECTATION_NOT_SET)
          problems_.Add(absl::StrCat(key, ".test_copy"), "says nothing that is expected of it");
        if (!has_azure_)
          problems_.Add(absl::StrCat(key, ".test_copy"),
                        "the topology has no Azure, where copies are started");
        return;
      case v1::Step::kVm:
        CheckMachine(absl::StrCat(key, ".vm.machine"), step.vm().machine());
        if (step.vm().change_case() == v1::VmChange::CHANGE_NOT_SET)
          problems_.Add(absl::StrCat(key, ".vm"), "says nothing that is to be done");
        return;
      case v1::Step::kLink:
        return CheckLink(absl::StrCat(key, ".link"), step.link());
      case v1::Step::kHost:
        if (hosts_.count(step.host().host()) == 0)
          problems_.Add(absl::StrCat(key, ".host.host"),
                        absl::StrCat("there is no host \"", step.host().host(), "\""));
        if (step.host().has_unreachable() && vcenters_.count(step.host().host()) == 0)
          problems_.Add(absl::StrCat(key, ".host.unreachable"),
                        absl::StrCat("no vCenter runs on \"", step.host().host(),
                                     "\"; cut a link, or kill it"));
        if (step.host().change_case() == v1::HostChange::CHANGE_NOT_SET)
          problems_.Add(absl::StrCat(key, ".host"), "says nothing that is to be done");
        return;
      case v1::Step::kPass:
        return RequirePositive(absl::StrCat(key, ".pass"), step.pass(), true, &problems_);
      case v1::Step::ACTION_NOT_SET:
        problems_.Add(key, "it does nothing");
    }
  }

  void CheckCommand(const std::string& key, const v1::Command& command) {
    if (command.line().empty()) problems_.Add(absl::StrCat(key, ".line"), "is missing");
    if (absl::StrContains(command.line(), kPlaceholder) && for_machines_.empty())
      problems_.Add(absl::StrCat(key, ".line"), "has {machine}, but the step has no for_machines");
    RequirePositive(absl::StrCat(key, ".retry_every"), command.retry_every(),
                    command.has_retry_every(), &problems_);
    if (command.has_retry_every() && command.refused().empty())
      problems_.Add(absl::StrCat(key, ".retry_every"),
                    "says nothing without `refused`: after which refusal is it tried again?");
    if (command.reported() && !command.refused().empty())
      problems_.Add(absl::StrCat(key, ".reported"), "what is refused is in the report anyway");
    if (command.refusals_min() > 0 && !command.has_retry_every())
      problems_.Add(absl::StrCat(key, ".refusals_min"), "says nothing without `retry_every`");
  }

  void CheckMachine(const std::string& key, const std::string& machine) {
    if (machine == kPlaceholder && !for_machines_.empty()) return;
    if (machines_.count(machine) == 0)
      problems_.Add(key, machine.empty() ? "is missing"
                                         : absl::StrCat("there is no machine \"", machine, "\""));
  }

  void CheckLink(const std::string& key, const v1::LinkChange& change) {
    bool there = false;
    for (const v1::Link& link : topology_.links()) {
      there = there || (link.site() == change.site() && link.other_site() == change.other_site()) ||
              (link.site() == change.other_site() && link.other_site() == change.site());
    }
    if (!there)
      problems_.Add(key, absl::StrCat("there is no link between \"", change.site(), "\" and \"",
                                      change.other_site(), "\""));
    if (change.has_quality())
      CheckQuality(absl::StrCat(key, ".quality"), change.quality(), &problems_);
    if (change.change_case() == v1::LinkChange::CHANGE_NOT_SET)
      problems_.Add(key, "says nothing that is to be done");
  }

  const v1::Topology& topology_;
  ConfigProblems& problems_;
  std::set<std::string> machines_, hosts_, vcenters_;
  bool has_azure_ = false;
  std::string for_machines_;  // of the step that is looked at
};

std::string Told(const v1::Step& step) {
  switch (step.action_case()) {
    case v1::Step::kCommand:
      return step.command().line();
    case v1::Step::kAwait:
      return absl::StrCat(step.await().machine(), " is waited for");
    case v1::Step::kLedger:
      return absl::StrCat("the ledger of ", step.ledger().machine());
    case v1::Step::kVm:
      return absl::StrCat("somebody ",
                          step.vm().has_power_on()    ? "powers on "
                          : step.vm().has_power_off() ? "powers off "
                                                      : "deletes ",
                          step.vm().machine());
    case v1::Step::kLink:
      return absl::StrCat("the link from ", step.link().site(), " to ", step.link().other_site(),
                          step.link().has_cut()    ? " is cut"
                          : step.link().has_mend() ? " is there again"
                                                   : " changes");
    case v1::Step::kHost:
      return absl::StrCat(step.host().host(), step.host().has_kill()      ? " is killed"
                                              : step.host().has_destroy() ? " is lost"
                                              : step.host().has_start()   ? " is started"
                                                                          : " does not answer");
    case v1::Step::kTestCopy:
      return absl::StrCat("the copy of ", step.test_copy().machine(),
                          step.test_copy().has_boots()   ? " boots"
                          : step.test_copy().has_alone() ? " is alone"
                                                         : " is gone");
    case v1::Step::kPass:
      return absl::StrCat(absl::FormatDuration(FromProto(step.pass())), " pass");
    case v1::Step::ACTION_NOT_SET:
      break;
  }
  return "";
}

}  // namespace

absl::StatusOr<v1::Scenario> ReadScenario(const std::string& name, const std::string& text,
                                          const v1::Topology& topology) {
  v1::Scenario scenario;
  const absl::Status read = ParseConfig(
      name, text,
      [&](const Message& message, ConfigProblems* problems) {
        ScenarioCheck(topology, problems).Run(static_cast<const v1::Scenario&>(message));
      },
      &scenario);
  if (!read.ok()) return read;
  if (!scenario.has_time_limit()) *scenario.mutable_time_limit() = ToProto(kTimeLimit);
  for (v1::Step& step : *scenario.mutable_steps()) {
    if (step.name().empty()) step.set_name(Told(step));
    if (!step.has_within()) *step.mutable_within() = ToProto(kWithin);
  }
  return scenario;
}

absl::StatusOr<std::string> TopologyOf(const std::string& name, const std::string& text) {
  v1::Scenario scenario;
  const absl::Status read = ParseConfig(
      name, text,
      [](const Message& message, ConfigProblems* problems) {
        if (static_cast<const v1::Scenario&>(message).topology().empty())
          problems->Add("topology", "is missing; name the topology that it is made for");
      },
      &scenario);
  if (!read.ok()) return read;
  return scenario.topology();
}

}  // namespace homeward::lab
