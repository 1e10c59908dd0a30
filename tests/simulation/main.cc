// simulate [--world stream|fabric|vcenter|azure|blobs] [--seeds N] [--first N] [--seed N [--without
// N,N]]
//   --world       only one of them: a stream (simulation.h), the whole fabric (fabric.h), that with
//                 a vCenter, with Azure too, or a replica in Azure alone (blob_cluster.h)
//   --seeds N     run N seeds (default 100), from --first (default 1); prints a summary
//   --seed N      run one seed of --world (default: stream) and print what happens
//   --without N,N leave those of its faults out
// simulate_planted, which has the bugs of planted/bugs.py too, also takes
//   --mutations   plant each known bug in turn and show that the oracles catch it within --seeds
//   --mutation N  only this one of them
//   --plant N     with this bug in, all the rest as it says

#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/fault/fault.h"
#include "common/log/log.h"
#include "tests/simulation/blob_cluster.h"
#include "tests/simulation/fabric.h"
#include "tests/simulation/simulation.h"

namespace homeward::simulation {
namespace {

#ifdef HOMEWARD_PLANTED_BUGS
constexpr bool kHasPlantedBugs = true;
#else
constexpr bool kHasPlantedBugs = false;
#endif

struct WorldKind {
  const char* name;
  Outcome (*run)(uint64_t seed, const RunOptions& options);
};
constexpr WorldKind kStream = {"stream", Run};
constexpr WorldKind kFabric = {"fabric", RunFabric};
constexpr WorldKind kVcenter = {"vcenter", RunVcenterFabric};
constexpr WorldKind kAzure = {"azure", RunAzureFabric};
constexpr WorldKind kBlobs = {"blobs", RunBlobs};
constexpr const WorldKind* kWorlds[] = {&kStream, &kFabric, &kVcenter, &kAzure, &kBlobs};

const WorldKind* WorldNamed(const std::string& name) {
  const auto it = std::find_if(std::begin(kWorlds), std::end(kWorlds),
                               [&](const WorldKind* world) { return name == world->name; });
  return it == std::end(kWorlds) ? nullptr : *it;
}

struct Mutation {
  const char* name;
  const WorldKind& world;
  // A seed that has caught it, tried first: what is searched for long is found at once as long as
  // it still does. 0: none is needed.
  uint64_t caught_by = 0;
};
constexpr Mutation kMutations[] = {
    {"mutation.acknowledge_before_sync", kStream},
    {"mutation.skip_undo_sync", kStream},
    {"mutation.skip_journal_record", kStream},
    {"mutation.drop_marker_barrier", kStream},
    {"mutation.apply_duplicates", kStream, 79},
    {"mutation.forget_extents", kStream},
    {"mutation.trust_map_after_crash", kStream},
    {"mutation.skip_spool_sync", kStream},
    {"mutation.ignore_generation", kStream},
    {"mutation.forget_unread", kStream},
    {"mutation.log_with_a_hole", kStream, 460},
    {"mutation.believe_a_reverted_agent", kStream},
    {"mutation.epoch_without_fence", kStream, 479},
    {"mutation.scrub_believes", kStream},
    {"mutation.ignore_repair_request", kStream},
    {"mutation.trust_a_disk_that_was_away", kStream},
    {"mutation.forget_damage", kStream, 3921},
    {"mutation.believe_a_short_log", kStream, 414},
    {"mutation.keep_a_damaged_spool", kStream, 95},
    {"mutation.rewind_to_newest", kStream, 477},
    {"mutation.zeroes_without_undo", kStream},
    {"mutation.keep_the_rest_of_an_old_delta", kStream},
    {"mutation.keep_only_the_newest", kStream},
    {"mutation.assume_stillness", kStream},
    {"mutation.settle_before_arrival", kStream},
    {"mutation.trust_a_wrong_tag", kFabric, 39},
    {"mutation.extents_beside_the_tag", kFabric, 331},
    {"mutation.spool_what_nobody_checked", kFabric, 15},
    {"mutation.compare_for_what_the_wire_changed", kFabric, 15},
    {"mutation.take_what_nobody_encrypted", kFabric, 235},
    {"mutation.nonce_of_random_bytes_alone", kFabric, 3},
    {"mutation.end_a_key_too_early", kFabric, 31},
    {"mutation.keep_clean_stop", kFabric, 205},
    {"mutation.retire_nothing", kFabric, 186},
    {"mutation.admit_left_behind", kFabric},
    {"mutation.repeat_token", kFabric, 2445},
    {"mutation.choose_without_fence", kFabric},
    {"mutation.forget_generation", kFabric, 157},
    {"mutation.skip_last_point", kFabric},
    {"mutation.split_transaction", kFabric, 37},
    {"mutation.unsynced_extent_name", kFabric, 1936},
    {"mutation.always_fresh", kFabric, 10},
    {"mutation.ignore_fence", kFabric},
    {"mutation.admit_clone", kFabric},
    {"mutation.move_unnoted", kVcenter},
    {"mutation.believe_the_call", kVcenter},
    {"mutation.leave_home_on", kVcenter},
    {"mutation.keep_attached", kVcenter},
    {"mutation.leave_disks_home", kVcenter, 97},
    {"mutation.attached_as_new", kVcenter},
    {"mutation.take_first_match", kVcenter},
    {"mutation.take_what_is_not_ours", kAzure},
    {"mutation.stopping_is_off", kAzure},
    {"mutation.boot_from_a_failed_disk", kAzure, 13},
    {"mutation.one_name_for_all_generations", kAzure},
    {"mutation.make_unnamed", kAzure},
    {"mutation.leave_a_copy_in_azure", kAzure},
    {"mutation.leave_azure_on", kAzure},
    {"mutation.leave_the_source_off", kAzure},
    {"mutation.undo_deletes_the_source", kAzure},
    {"mutation.forget_the_azure_vm", kAzure},
    {"mutation.believe_a_lost_put", kAzure, 31},
    {"mutation.point_of_some_snapshots", kBlobs, 20},
    {"mutation.make_a_point_twice", kBlobs, 350},
    {"mutation.delete_before_telling", kBlobs, 36},
    {"mutation.believe_a_dropped_point", kBlobs, 689},
    {"mutation.wait_for_the_dead", kBlobs, 29},
    {"mutation.write_over_what_is_under_way", kBlobs},
    {"mutation.settle_before_arrival", kBlobs},
    {"mutation.trust_a_wrong_tag", kBlobs},
    {"mutation.compare_for_what_the_wire_changed", kBlobs},
    {"mutation.take_unchecked_again_at_once", kBlobs},
};

// Leaves out faults while the run still fails, many at once and then fewer; prints what is left.
// What is left out changes the rest of the run too, so it goes on as long as something can go.
void Shrink(const WorldKind& world, uint64_t seed, uint64_t faults) {
  constexpr int kRunsMax = 600;
  int runs = 0;
  RunOptions options;
  const auto fails_without = [&](uint64_t first, uint64_t count) {
    RunOptions fewer = options;
    for (uint64_t at = first; at < std::min(first + count, faults); ++at)
      fewer.without_faults.insert(at);
    if (fewer.without_faults.size() == options.without_faults.size() || ++runs > kRunsMax ||
        world.run(seed, fewer).ok)
      return false;
    options = std::move(fewer);
    return true;
  };
  for (bool again = true; again;) {
    again = false;
    for (uint64_t count = std::max<uint64_t>(faults / 2, 1); count > 0; count /= 2) {
      for (uint64_t first = 0; first < faults; first += count)
        again = fails_without(first, count) || again;
    }
  }
  std::printf("\nthe same failure with %llu of its %llu faults:\n",
              static_cast<unsigned long long>(faults - options.without_faults.size()),
              static_cast<unsigned long long>(faults));
  options.trace = true;
  world.run(seed, options);
  std::printf("replay with: --world %s --seed %llu --without %s\n", world.name,
              static_cast<unsigned long long>(seed),
              absl::StrJoin(options.without_faults, ",").c_str());
}

int RunSeeds(const WorldKind& world, uint64_t first, uint64_t count) {
  Outcome total;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = world.run(seed, {});
    if (!outcome.ok) {
      std::printf("%s seed %llu failed %s\nreplay with: --world %s --seed %llu\n", world.name,
                  static_cast<unsigned long long>(seed), outcome.failure.c_str(), world.name,
                  static_cast<unsigned long long>(seed));
      Shrink(world, seed, outcome.faults);
      std::printf("0 passed, 1 failed\n");
      return 1;
    }
    total.jobs += outcome.jobs;
    total.refusals += outcome.refusals;
    total.points += outcome.points;
    total.crashes += outcome.crashes;
    total.cuts += outcome.cuts;
    total.forged += outcome.forged;
    total.epochs += outcome.epochs;
    total.views_checked += outcome.views_checked;
    total.ticks_with_data += outcome.ticks_with_data;
    total.ticks_degraded += outcome.ticks_degraded;
  }
  const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%s: %llu seeds, %llu crashes, %llu cuts, %llu disks or points compared, ",
              world.name, number(count), number(total.crashes), number(total.cuts),
              number(total.views_checked));
  if (&world == &kBlobs) {
    std::printf("%llu epochs, %llu points at the end, %llu batches changed\n", number(total.epochs),
                number(total.points), number(total.forged));
    return total.views_checked > 0 && total.crashes > 0 && total.forged > 0 ? 0 : 1;
  }
  if (&world != &kStream) {
    std::printf("%llu jobs, %llu refusals, %llu batches forged\n", number(total.jobs),
                number(total.refusals), number(total.forged));
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
  std::printf("%-36s %-8s %-8s %-6s %s\n", "planted bug", "world", "caught", "seed", "how");
  for (const auto& [name, world, caught_by] : kMutations) {
    if (!only.empty() && name != "mutation." + only) continue;
    ++run;
    fault::SetDecider([planted = name](absl::string_view fault) { return fault == planted; });
    Outcome outcome;
    uint64_t seed = caught_by;
    if (caught_by != 0) outcome = world.run(caught_by, {});
    if (outcome.ok) seed = 0;
    while (outcome.ok && seed < seeds_max) outcome = world.run(++seed, {});
    std::printf("%-36s %-8s %-8s %-6llu %.120s\n", name, world.name, outcome.ok ? "NO" : "yes",
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
  // Every seed has disks of its own. From the heap they cost half of what they cost from the
  // kernel, which gives each one page by page.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  uint64_t seeds = 100, first = 1, one = 0;
  bool mutations = false;
  std::string mutation;
  RunOptions options;
  const WorldKind* only = nullptr;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const std::string text = i + 1 < argc ? argv[i + 1] : "";
    const uint64_t value = std::strtoull(text.c_str(), nullptr, 10);
    if (flag == "--mutations" && kHasPlantedBugs) {
      mutations = true;
    } else if (flag == "--mutation" && kHasPlantedBugs && !text.empty()) {
      mutations = true;
      mutation = text, ++i;
    } else if (flag == "--plant" && kHasPlantedBugs && !text.empty()) {
      homeward::fault::SetDecider(
          [planted = "mutation." + text](absl::string_view fault) { return fault == planted; });
      ++i;
    } else if (flag == "--seeds" && value > 0) {
      seeds = value, ++i;
    } else if (flag == "--first" && value > 0) {
      first = value, ++i;
    } else if (flag == "--seed" && value > 0) {
      one = value, ++i;
    } else if (flag == "--without" && !text.empty()) {
      for (const absl::string_view number : absl::StrSplit(text, ',')) {
        uint64_t fault = 0;
        if (absl::SimpleAtoi(number, &fault)) options.without_faults.insert(fault);
      }
      ++i;
    } else if (flag == "--world" && WorldNamed(text) != nullptr) {
      only = WorldNamed(text), ++i;
    } else {
      std::fprintf(
          stderr,
          "usage: simulate [--world stream|fabric|vcenter|azure|blobs] [--seeds N] [--first N] "
          "[--seed N [--without N,N]]; simulate_planted also [--mutations] [--mutation NAME] "
          "[--plant NAME]; not: %s\n",
          argv[i]);
      return 2;
    }
  }
  if (mutations) return RunMutations(seeds, mutation);
  if (one > 0) {
    options.trace = true;
    const Outcome outcome = (only == nullptr ? kStream : *only).run(one, options);
    std::printf("%s\n", outcome.ok ? "ok" : outcome.failure.c_str());
    return outcome.ok ? 0 : 1;
  }
  for (const WorldKind* world : kWorlds) {
    if (only != nullptr && only != world) continue;
    if (const int failed = RunSeeds(*world, first, seeds); failed != 0) return failed;
  }
  return 0;
}
