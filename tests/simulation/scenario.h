// What both simulated worlds share: virtual time, the outcome, and saying what happens.
#ifndef HOMEWARD_TESTS_SIMULATION_SCENARIO_H_
#define HOMEWARD_TESTS_SIMULATION_SCENARIO_H_

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/memory_disk.h"
#include "tests/simulation/simulation.h"
#include "tests/simulation/world.h"

namespace homeward::simulation {

class Scenario {
 public:
  Scenario(uint64_t seed, const RunOptions& options) : world_(seed), options_(options) {}

 protected:
  void Say(const std::string& what) {
    if (options_.trace)
      std::printf("%12s  %s\n", absl::FormatDuration(world_.Monotonic()).c_str(), what.c_str());
  }
  // The first one counts.
  void Fail(const std::string& why) {
    if (!outcome_.ok) return;
    outcome_.ok = false;
    outcome_.failure = absl::StrCat("at ", absl::FormatDuration(world_.Monotonic()), ": ", why);
    Say("FAILED " + why);
  }
  // Changes a byte of some record log on `disk` of `owner`; false when there is none.
  bool DamageSomeLog(MemoryDisk* disk, const std::string& owner) {
    std::vector<std::string> paths = disk->Paths();
    std::erase_if(paths, [](const std::string& path) { return !absl::EndsWith(path, ".hwl"); });
    if (paths.empty()) return false;
    const std::string& path = paths[world_.Pick(paths.size())];
    const uint64_t bytes = disk->Content(path).size();
    if (bytes == 0) return false;
    disk->FlipByte(path, world_.Pick(bytes));
    Say(absl::StrCat("a byte of ", path, " of ", owner, " changes"));
    return true;
  }

  World world_;
  const RunOptions& options_;
  Outcome outcome_;
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_SCENARIO_H_
