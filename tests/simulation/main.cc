// simulate [--seeds N] [--first N] [--seed N] [--mutations]
//   --seeds N     run N seeds (default 100), from --first (default 1); prints a summary
//   --seed N      run one seed and print what happens
//   --mutations   plant each known bug in turn and show that the oracles catch it

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/fault/fault.h"
#include "tests/simulation/simulation.h"

namespace homeward::simulation {
namespace {

constexpr const char* kMutations[] = {
    "mutation.acknowledge_before_sync", "mutation.skip_undo_sync",   "mutation.skip_journal_record",
    "mutation.drop_marker_barrier",     "mutation.apply_duplicates", "mutation.forget_extents",
    "mutation.trust_map_after_crash",   "mutation.skip_spool_sync",  "mutation.epoch_without_fence",
    "mutation.ignore_generation",       "mutation.forget_unread",    "mutation.log_with_a_hole",
};

int RunSeeds(uint64_t first, uint64_t count) {
  Outcome total;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = Run(seed, false);
    if (!outcome.ok) {
      std::printf("seed %llu failed %s\nreplay with: --seed %llu\n0 passed, 1 failed\n",
                  static_cast<unsigned long long>(seed), outcome.failure.c_str(),
                  static_cast<unsigned long long>(seed));
      return 1;
    }
    total.points += outcome.points;
    total.crashes += outcome.crashes;
    total.cuts += outcome.cuts;
    total.epochs += outcome.epochs;
    total.views_checked += outcome.views_checked;
    total.ticks_with_data += outcome.ticks_with_data;
    total.ticks_degraded += outcome.ticks_degraded;
  }
  std::printf(
      "%llu seeds: %llu crashes, %llu cuts, %llu epochs, %llu points at the end, %llu views "
      "compared, %llu ticks with data, %llu degraded\n",
      static_cast<unsigned long long>(count), static_cast<unsigned long long>(total.crashes),
      static_cast<unsigned long long>(total.cuts), static_cast<unsigned long long>(total.epochs),
      static_cast<unsigned long long>(total.points),
      static_cast<unsigned long long>(total.views_checked),
      static_cast<unsigned long long>(total.ticks_with_data),
      static_cast<unsigned long long>(total.ticks_degraded));
  return total.views_checked > 0 && total.ticks_with_data > 0 && total.ticks_degraded > 0 ? 0 : 1;
}

int RunMutations(uint64_t seeds_max) {
  int missed = 0;
  std::printf("%-36s %-8s %-6s %s\n", "planted bug", "caught", "seeds", "how");
  for (const char* mutation : kMutations) {
    fault::SetDecider([mutation](absl::string_view name) { return name == mutation; });
    Outcome outcome;
    uint64_t seed = 0;
    while (outcome.ok && seed < seeds_max) outcome = Run(++seed, false);
    std::printf("%-36s %-8s %-6llu %s\n", mutation, outcome.ok ? "NO" : "yes",
                static_cast<unsigned long long>(seed), outcome.failure.c_str());
    std::fflush(stdout);
    if (outcome.ok) ++missed;
  }
  fault::SetDecider(nullptr);
  return missed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace homeward::simulation

int main(int argc, char** argv) {
  uint64_t seeds = 100, first = 1;
  bool mutations = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const uint64_t value = i + 1 < argc ? std::strtoull(argv[i + 1], nullptr, 10) : 0;
    if (flag == "--mutations") {
      mutations = true;
    } else if (flag == "--seeds" && value > 0) {
      seeds = value, ++i;
    } else if (flag == "--first" && value > 0) {
      first = value, ++i;
    } else if (flag == "--seed" && value > 0) {
      const homeward::simulation::Outcome outcome = homeward::simulation::Run(value, true);
      std::printf("%s\n", outcome.ok ? "ok" : outcome.failure.c_str());
      return outcome.ok ? 0 : 1;
    } else {
      std::fprintf(stderr,
                   "usage: simulate [--seeds N] [--first N] [--seed N] [--mutations]; not: %s\n",
                   argv[i]);
      return 2;
    }
  }
  return mutations ? homeward::simulation::RunMutations(seeds)
                   : homeward::simulation::RunSeeds(first, seeds);
}
