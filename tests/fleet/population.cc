#include "tests/fleet/population.h"

#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/control/control_client.h"
#include "common/daemon/daemon.h"
#include "common/os/host.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {

using control::v1::Down;
using control::v1::Heartbeat;

namespace {

constexpr int kParts = 4;

}  // namespace

Population::Population(FileSystem& files, const Clock& clock) : files_(files), clock_(clock) {
  for (int i = 0; i < kParts; ++i) {
    parts_.push_back(std::make_unique<Part>());
    parts_.back()->strand = MakeThreadStrand("population");
  }
}

absl::StatusOr<std::unique_ptr<Population>> Population::Make(
    FileSystem& files, const Clock& clock, const std::vector<AgentClass>& classes) {
  std::unique_ptr<Population> made(new Population(files, clock));
  for (const AgentClass& of : classes) {
    HW_ASSIGN_OR_RETURN(DelaySource delay,
                        DelaySource::Open(files, of.config.registration().delay()));
    made->delays_.push_back(std::make_unique<DelaySource>(std::move(delay)));
    for (uint64_t number = 1; number <= of.count; ++number) {
      auto agent = std::unique_ptr<Agent>(new Agent{
          .number = number,
          .joining = {.role = types::v1::AGENT,
                      .state_directory =
                          JoinPath(of.config.state_directory(), absl::StrFormat("%05d", number)),
                      .join = of.config.join()},
          .delay = made->delays_.back().get(),
          .reconnect = {ControlClient::kRetryMin, ControlClient::kRetryMax}});
      agent->joining.join.set_name(absl::StrFormat("%s-%05d", of.config.join().name(), number));
      agent->part = made->parts_[made->agents_.size() % kParts].get();
      agent->part->agents.push_back(agent.get());
      made->agents_.push_back(std::move(agent));
    }
  }
  return made;
}

Population::~Population() {
  for (const auto& part : parts_) {
    part->strand->Run([&] {
      part->stopping = true;
      for (Agent* const agent : part->agents) {
        if (agent->link != nullptr) agent->link->Cancel();
      }
    });
  }
  for (const auto& part : parts_) {
    bool open = true;
    while (open) part->strand->Run([&] { open = part->sessions > 0; });
    part->strand->Stop();
  }
}

absl::Status Population::Enrol(uint64_t at_once, const absl::Notification& stopping) {
  std::atomic<size_t> next = 0;
  std::vector<absl::Status> failed(at_once);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < at_once; ++i) {
    threads.emplace_back([&, &mine = failed[i]] {
      for (size_t at = next++; at < agents_.size() && mine.ok(); at = next++) {
        Agent& agent = *agents_[at];
        const auto join = [&]() -> absl::Status {
          HW_ASSIGN_OR_RETURN(agent.membership, JoinFabric(files_, agent.joining, stopping));
          HW_RETURN_IF_ERROR(
              RenewIfDue(files_, clock_, agent.membership.files, agent.joining.join.config_server())
                  .status());
          HW_ASSIGN_OR_RETURN(agent.identity, ReadIdentity(files_, agent.membership.files));
          return absl::OkStatus();
        };
        mine = join();
        if (!mine.ok()) mine = Annotate(mine, agent.joining.join.name());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : failed) HW_RETURN_IF_ERROR(status);
  for (const auto& agent : agents_) {
    control::v1::Registration& registration = agent->registration;
    registration = DescribeHost(agent->joining, agent->membership, kVersion);
    // Of the same host all its life.
    registration.set_hardware_uuid(agent->membership.host_id);
    registration.clear_mac_addresses();
  }
  return absl::OkStatus();
}

void Population::Begin(Part* part, absl::Duration marked) {
  part->attempts = part->heartbeats = 0;
  part->ended.clear();
  for (Agent* const agent : part->agents) {
    agent->counted_from = marked;
    agent->registered_after = -1;
  }
}

void Population::PowerOn() {
  for (const auto& part : parts_) {
    part->strand->Run([&] {
      Begin(part.get(), absl::ZeroDuration());
      for (Agent* const agent : part->agents) PowerOnAgent(agent);
    });
  }
}

void Population::PowerOnAgent(Agent* agent) {
  if (agent->link != nullptr) agent->link->Cancel();
  ++agent->life;
  agent->powered_on = agent->counted_from = clock_.Monotonic();
  agent->greeted = false;
  agent->refused.clear();
  agent->registration.set_boot_id(RandomUuid());
  agent->registration.set_incarnation(RandomHexId());
  agent->waited = agent->delay->DrawAs(agent->number);
  After(agent->waited, agent, &Population::Connect);
}

void Population::Mark() {
  const absl::Duration now = clock_.Monotonic();
  for (const auto& part : parts_) part->strand->Run([&] { Begin(part.get(), now); });
}

FleetReport Population::Report() {
  FleetReport report;
  report.agents = agents_.size();
  for (const auto& part : parts_) part->strand->Run([&] { AddTo(&report, *part); });
  return report;
}

void Population::AddTo(FleetReport* report, const Part& part) const {
  report->attempts += part.attempts;
  report->heartbeats += part.heartbeats;
  for (const auto& [why, count] : part.ended) report->ended[why] += count;
  for (const Agent* const agent : part.agents) {
    report->registered += agent->greeted ? 1 : 0;
    if (!agent->refused.empty())
      report->need_a_human.push_back(
          absl::StrCat(agent->registration.name(), ": ", agent->refused));
    if (agent->registered_after < 0) continue;
    report->seconds.push_back(agent->registered_after);
    report->delays.push_back(absl::ToDoubleSeconds(agent->waited));
  }
}

void Population::After(absl::Duration delay, Agent* agent, void (Population::*what)(Agent*)) {
  agent->part->strand->PostAfter(delay, [this, agent, what, life = agent->life] {
    if (!agent->part->stopping && agent->life == life) (this->*what)(agent);
  });
}

void Population::Connect(Agent* agent) {
  const uint64_t life = ++agent->life;
  ++agent->part->attempts;
  ++agent->part->sessions;
  agent->greeted = false;
  agent->revision = agent->reported_revision = 0;
  agent->last_report = clock_.Monotonic();
  const absl::Duration since = clock_.Monotonic() - agent->powered_on;
  *agent->registration.mutable_running_for() = ToProto(since);
  *agent->registration.mutable_booted_at() = ToProto(clock_.Now() - since);
  *agent->registration.mutable_up_for() = ToProto(since);
  Heartbeat first;
  first.mutable_agent();
  agent->link = SessionLink::Open(agent->joining.join.config_server(), agent->identity,
                                  agent->registration, std::move(first),
                                  {.heard =
                                       [this, agent, life](const Down& down) {
                                         agent->part->strand->Post([this, agent, life, down] {
                                           if (agent->life == life) Heard(agent, down);
                                         });
                                       },
                                   .ended =
                                       [this, agent, life](const absl::Status& why) {
                                         agent->part->strand->Post([this, agent, life, why] {
                                           --agent->part->sessions;
                                           if (agent->life == life) Ended(agent, why);
                                         });
                                       }});
}

void Population::Heard(Agent* agent, const Down& down) {
  if (down.has_registered()) {
    agent->greeted = true;
    agent->refused.clear();
    agent->heartbeat_interval = FromProto(down.registered().heartbeat_interval());
    if (agent->registered_after < 0) {
      agent->registered_after = absl::ToDoubleSeconds(clock_.Monotonic() - agent->counted_from);
    }
    After(agent->heartbeat_interval, agent, &Population::KeepReporting);
  } else if (down.has_desired()) {
    // Nothing is desired of them but an answer, which an agent gives at its next look.
    if (agent->revision == agent->reported_revision)
      After(ControlClient::kObserveInterval, agent, &Population::Report);
    agent->revision = down.desired().revision();
  }
}

void Population::Report(Agent* agent) {
  Heartbeat heartbeat;
  heartbeat.mutable_agent();
  heartbeat.set_desired_revision(agent->revision);
  heartbeat.set_resident_bytes_max(PeakResidentBytes());
  agent->reported_revision = agent->revision;
  agent->last_report = clock_.Monotonic();
  ++agent->part->heartbeats;
  agent->link->Report(std::move(heartbeat));
}

void Population::KeepReporting(Agent* agent) {
  if (clock_.Monotonic() - agent->last_report >= agent->heartbeat_interval) Report(agent);
  const absl::Duration due = agent->last_report + agent->heartbeat_interval - clock_.Monotonic();
  After(std::max(due, ControlClient::kObserveInterval), agent, &Population::KeepReporting);
}

void Population::Ended(Agent* agent, const absl::Status& why) {
  const std::optional<types::v1::Problem> problem = ProblemOf(why);
  ++agent->part->ended[problem.has_value() ? problem->id() : absl::StatusCodeToString(why.code())];
  if (problem.has_value() && !problem->retryable()) agent->refused = problem->id();
  agent->link = nullptr;
  const bool greeted = agent->greeted;
  agent->greeted = false;
  ++agent->life;
  After(agent->reconnect.Next(greeted, &agent->part->random), agent, &Population::Connect);
}

}  // namespace homeward
