#include "config_server/model/boots.h"

#include <algorithm>
#include <cmath>

#include "absl/algorithm/container.h"
#include "common/wire/time_proto.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/view.h"

namespace homeward {
namespace {

using storage::v1::Boot;
using storage::v1::Machine;

// From the kernel's start to the agent's, where both began with the machine.
constexpr absl::Duration kAgentStartsWithin = absl::Minutes(5);

// A job powered the machine on, and no agent has registered since.
bool WasStartedByJob(const Machine& machine) {
  return !RegisteredSinceBoot(machine) && machine.has_assignment() &&
         RulesOf(machine).starts_machines();
}

absl::optional<absl::Time> AgentSaysBooted(const control::v1::Registration& registration,
                                           absl::Time now) {
  if (registration.has_up_for()) return now - FromProto(registration.up_for());
  // By the machine's own clock: an older agent.
  if (registration.has_booted_at()) return std::min(FromProto(registration.booted_at()), now);
  return absl::nullopt;
}

}  // namespace

void NoteBoot(const control::v1::Registration& registration, absl::Time now, Machine* machine) {
  if (registration.boot_id().empty()) return;
  const auto& known = machine->boots();
  if (absl::c_any_of(known,
                     [&](const Boot& boot) { return boot.boot_id() == registration.boot_id(); }))
    return;
  const bool by_job = WasStartedByJob(*machine);
  const bool is_new = !machine->has_registration();
  absl::optional<absl::Time> powered_on;
  if (by_job) {
    powered_on = FromProto(machine->handed_back_at());
  } else if (is_new || machine->registration().boot_id() != registration.boot_id()) {
    powered_on = AgentSaysBooted(registration, now);
  }
  if (!powered_on.has_value()) return;
  const absl::Time agent_began = now - FromProto(registration.running_for());
  const bool began_with_machine =
      registration.has_running_for() && agent_began - *powered_on <= kAgentStartsWithin;
  if (is_new && !began_with_machine) return;
  Boot& boot = *machine->add_boots();
  boot.set_boot_id(registration.boot_id());
  *boot.mutable_powered_on() = ToProto(std::min(*powered_on, now));
  *boot.mutable_registered() = ToProto(now);
  boot.set_by_job(by_job);
  if (machine->boots_size() > kBootsKept) machine->mutable_boots()->erase(machine->boots().begin());
}

absl::Duration TookOf(const Boot& boot) {
  return FromProto(boot.registered()) - FromProto(boot.powered_on());
}

absl::optional<absl::Time> WaitsSince(const Machine& machine) {
  if (!WasStartedByJob(machine)) return absl::nullopt;
  return FromProto(machine.handed_back_at());
}

absl::Duration RankOf(const std::vector<absl::Duration>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

std::vector<BootBucket> HistogramOf(const std::vector<absl::Duration>& durations) {
  std::vector<BootBucket> buckets;
  for (const int seconds :
       {1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 450, 600, 900, 1200, 1800, 3600})
    buckets.push_back({absl::Seconds(seconds), 0});
  buckets.push_back({absl::nullopt, 0});
  for (const absl::Duration duration : durations) {
    ++absl::c_find_if(buckets, [&](const BootBucket& bucket) {
        return !bucket.limit.has_value() || duration <= *bucket.limit;
      })->count;
  }
  while (!buckets.empty() && buckets.back().count == 0) buckets.pop_back();
  const auto first =
      absl::c_find_if(buckets, [](const BootBucket& bucket) { return bucket.count > 0; });
  buckets.erase(buckets.begin(), first);
  return buckets;
}

}  // namespace homeward
