// simulate [--world stream|fabric] [--seeds N] [--first N] [--seed N] [--mutations] [--mutation
// NAME]
//   --world       only one of the two: a stream (simulation.h), or the whole fabric (fabric.h)
//   --seeds N     run N seeds (default 100), from --first (default 1); prints a summary
//   --seed N      run one seed of --world (default: stream) and print what happens
//   --mutations   plant each known bug in turn and show that the oracles catch it within --seeds
//   --mutation N  only this one of them

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/fault/fault.h"
#include "common/log/log.h"
#include "tests/simulation/fabric.h"
#include "tests/simulation/simulation.h"

namespace homeward::simulation {
namespace {

struct WorldKind {
  const char* name;
  Outcome (*run)(uint64_t seed, bool trace);
};
constexpr WorldKind kStream = {"stream", Run};
constexpr WorldKind kFabric = {"fabric", RunFabric};

struct Mutation {
  const char* name;
  const WorldKind& world;
};
constexpr Mutation kMutations[] = {
    {"mutation.acknowledge_before_sync", kStream}, {"mutation.skip_undo_sync", kStream},
    {"mutation.skip_journal_record", kStream},     {"mutation.drop_marker_barrier", kStream},
    {"mutation.apply_duplicates", kStream},        {"mutation.forget_extents", kStream},
    {"mutation.trust_map_after_crash", kStream},   {"mutation.skip_spool_sync", kStream},
    {"mutation.epoch_without_fence", kStream},     {"mutation.ignore_generation", kStream},
    {"mutation.forget_unread", kStream},           {"mutation.log_with_a_hole", kStream},
    {"mutation.keep_clean_stop", kFabric},         {"mutation.retire_nothing", kFabric},
    {"mutation.admit_left_behind", kFabric},       {"mutation.repeat_token", kFabric},
    {"mutation.choose_without_fence", kFabric},    {"mutation.forget_generation", kFabric},
    {"mutation.skip_last_point", kFabric},         {"mutation.split_transaction", kFabric},
    {"mutation.unsynced_extent_name", kFabric},    {"mutation.always_fresh", kFabric},
};

int RunSeeds(const WorldKind& world, uint64_t first, uint64_t count) {
  Outcome total;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = world.run(seed, false);
    if (!outcome.ok) {
      std::printf(
          "%s seed %llu failed %s\nreplay with: --world %s --seed %llu\n0 passed, 1 failed\n",
          world.name, static_cast<unsigned long long>(seed), outcome.failure.c_str(), world.name,
          static_cast<unsigned long long>(seed));
      return 1;
    }
    total.jobs += outcome.jobs;
    total.refusals += outcome.refusals;
    total.points += outcome.points;
    total.crashes += outcome.crashes;
    total.cuts += outcome.cuts;
    total.epochs += outcome.epochs;
    total.views_checked += outcome.views_checked;
    total.ticks_with_data += outcome.ticks_with_data;
    total.ticks_degraded += outcome.ticks_degraded;
  }
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%s: %llu seeds, %llu crashes, %llu cuts, %llu disks or points compared, ",
              world.name, number(count), number(total.crashes), number(total.cuts),
              number(total.views_checked));
  if (&world == &kFabric) {
    std::printf("%llu jobs, %llu refusals\n", number(total.jobs), number(total.refusals));
    return total.views_checked > 0 && total.jobs > 0 && total.refusals > 0 ? 0 : 1;
  }
  std::printf("%llu epochs, %llu points at the end, %llu ticks with data, %llu degraded\n",
              number(total.epochs), number(total.points), number(total.ticks_with_data),
              number(total.ticks_degraded));
  return total.views_checked > 0 && total.ticks_with_data > 0 && total.ticks_degraded > 0 ? 0 : 1;
}

// `only`: one of them; empty: all.
int RunMutations(uint64_t seeds_max, const std::string& only) {
  int missed = 0, run = 0;
  std::printf("%-36s %-8s %-6s %s\n", "planted bug", "caught", "seeds", "how");
  for (const auto& [name, world] : kMutations) {
    if (!only.empty() && name != "mutation." + only) continue;
    ++run;
    fault::SetDecider([planted = name](absl::string_view fault) { return fault == planted; });
    Outcome outcome;
    uint64_t seed = 0;
    while (outcome.ok && seed < seeds_max) outcome = world.run(++seed, false);
    std::printf("%-36s %-8s %-6llu %.120s\n", name, outcome.ok ? "NO" : "yes",
                static_cast<unsigned long long>(seed), outcome.failure.c_str());
    std::fflush(stdout);
    if (outcome.ok) ++missed;
  }
  fault::SetDecider(nullptr);
  return missed == 0 && run > 0 ? 0 : 1;
}

}  // namespace
}  // namespace homeward::simulation

int main(int argc, char** argv) {
  using namespace homeward::simulation;
  homeward::SetLogLevel(homeward::LogLevel::kOff);
  uint64_t seeds = 100, first = 1, one = 0;
  bool mutations = false;
  std::string mutation;
  const WorldKind* only = nullptr;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const std::string text = i + 1 < argc ? argv[i + 1] : "";
    const uint64_t value = std::strtoull(text.c_str(), nullptr, 10);
    if (flag == "--mutations") {
      mutations = true;
    } else if (flag == "--mutation" && !text.empty()) {
      mutations = true;
      mutation = text, ++i;
    } else if (flag == "--seeds" && value > 0) {
      seeds = value, ++i;
    } else if (flag == "--first" && value > 0) {
      first = value, ++i;
    } else if (flag == "--seed" && value > 0) {
      one = value, ++i;
    } else if (flag == "--world" && (text == kStream.name || text == kFabric.name)) {
      only = text == kStream.name ? &kStream : &kFabric, ++i;
    } else {
      std::fprintf(stderr,
                   "usage: simulate [--world stream|fabric] [--seeds N] [--first N] [--seed N] "
                   "[--mutations] [--mutation NAME]; not: %s\n",
                   argv[i]);
      return 2;
    }
  }
  if (mutations) return RunMutations(seeds, mutation);
  if (one > 0) {
    const Outcome outcome = (only == nullptr ? kStream : *only).run(one, true);
    std::printf("%s\n", outcome.ok ? "ok" : outcome.failure.c_str());
    return outcome.ok ? 0 : 1;
  }
  for (const WorldKind* world : {&kStream, &kFabric}) {
    if (only != nullptr && only != world) continue;
    if (const int failed = RunSeeds(*world, first, seeds); failed != 0) return failed;
  }
  return 0;
}
