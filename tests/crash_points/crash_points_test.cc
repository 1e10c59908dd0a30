// Every durable thing, cut at every operation on its disk, with each subset of what was unsynced
// (up to a bound, then the telling ones and a sample), cut again while it is opened; and with every
// region of every file changed. With HOMEWARD_PLANTED_BUGS it is another program: that such cuts
// find the bugs that were planted.
#include <random>

#include "common/fault/fault.h"
#include "gtest/gtest.h"
#include "tests/crash_points/histories.h"
#include "tests/fakes/memory_disk.h"

namespace homeward::crash_points {
namespace {

// Sanitizers are some twenty times slower; there the point is memory.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kAllSubsetsOf = 4;
constexpr size_t kSampledSubsets = 2;
constexpr uint64_t kEdgeBytes = 32;
constexpr uint64_t kStrideBytes = 97;
#else
constexpr size_t kAllSubsetsOf = 9;
constexpr size_t kSampledSubsets = 24;
constexpr uint64_t kEdgeBytes = 96;  // of a file, where every byte is changed
constexpr uint64_t kStrideBytes = 17;
#endif

// Which of the unsynced things had happened: asked one after the other.
using Subset = std::vector<bool>;

// Crashes and says how many things could have gone either way.
size_t CrashWith(MemoryDisk& disk, const Subset& subset, bool rest) {
  size_t asked = 0;
  disk.Crash([&] {
    const size_t at = asked++;
    return at < subset.size() ? subset[at] : rest;
  });
  return asked;
}

std::vector<Subset> SubsetsOf(size_t count, bool few, std::mt19937_64* random) {
  constexpr size_t kFew = 5;
  std::vector<Subset> out;
  if (count <= (few ? kFew : kAllSubsetsOf)) {
    for (uint64_t bits = 0; bits < (1ULL << count); ++bits) {
      Subset& subset = out.emplace_back(count);
      for (size_t i = 0; i < count; ++i) subset[i] = (bits >> i & 1) != 0;
    }
    return out;
  }
  out = {Subset(count, false), Subset(count, true)};
  for (size_t i = 0; i < count && !few; ++i) {
    for (const bool value : {false, true}) out.emplace_back(count, !value)[i] = value;
  }
  for (size_t n = 0; n < (few ? kFew : kSampledSubsets); ++n) {
    Subset& subset = out.emplace_back(count);
    for (size_t i = 0; i < count; ++i) subset[i] = (*random)() % 2 != 0;
  }
  return out;
}

class CrashPoints : public ::testing::TestWithParam<size_t> {
 protected:
  const Scripted& scripted() const { return AllHistories()[GetParam()]; }
  // Runs the history up to `operation`.
  struct Ran {
    MemoryDisk disk{1};
    std::unique_ptr<History> history;
  };
  std::unique_ptr<Ran> RunUpTo(uint64_t operation) const {
    auto ran = std::make_unique<Ran>();
    ran->history = scripted().make();
    if (scripted().names_in_order) ran->disk.KeepNamesInOrder();
    ran->disk.DieAfter(operation);
    ran->history->Run(ran->disk);
    return ran;
  }
  // The first promise that a cut breaks.
  absl::Status CutEverywhere(uint64_t* cuts) const {
    std::mt19937_64 random(7);
    const uint64_t operations = OperationCount();
    for (uint64_t operation = 0; operation <= operations; ++operation) {
      const size_t open = CrashWith(RunUpTo(operation)->disk, {}, false);
      for (const Subset& subset : SubsetsOf(open, scripted().slow, &random)) {
        auto ran = RunUpTo(operation);
        CrashWith(ran->disk, subset, false);
        ++*cuts;
        const absl::Status kept = ran->history->Check(ran->disk, "");
        if (!kept.ok())
          return absl::InternalError(absl::StrCat(scripted().name, " cut at operation ", operation,
                                                  " of ", operations, ": ", kept.ToString()));
      }
    }
    return absl::OkStatus();
  }
  uint64_t OperationCount() const {
    const auto ran = RunUpTo(UINT64_MAX);
    return ran->disk.operation_count();
  }
};

#ifdef HOMEWARD_PLANTED_BUGS
// Those that have a bug to plant, which loses something only at the right cut.
class PlantedBugs : public CrashPoints {};

TEST_P(PlantedBugs, AreFound) {
  fault::SetDecider([this](absl::string_view fault) { return fault == scripted().planted; });
  uint64_t cuts = 0;
  const absl::Status kept = CutEverywhere(&cuts);
  fault::SetDecider(nullptr);
  EXPECT_FALSE(kept.ok()) << scripted().planted << " was not found by " << cuts << " cuts";
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBugs, ::testing::ValuesIn(HistoriesWhere(HasPlantedBug)),
                         [](const auto& info) { return AllHistories()[info.param].name; });

#else

TEST_P(CrashPoints, EveryCutKeepsEveryPromise) {
  uint64_t cuts = 0;
  const absl::Status kept = CutEverywhere(&cuts);
  EXPECT_TRUE(kept.ok()) << kept;
  std::printf("%s: %llu operations, %llu cuts\n", scripted().name,
              static_cast<unsigned long long>(OperationCount()),
              static_cast<unsigned long long>(cuts));
}

TEST_P(CrashPoints, ACutWhileItIsOpenedKeepsEveryPromise) {
  constexpr uint64_t kOpeningOperations = 12;
  const uint64_t operations = OperationCount();
  const uint64_t stride = scripted().slow ? 5 : 1;
  for (uint64_t operation = 0; operation <= operations; operation += stride) {
    for (const bool first : {false, true}) {
      for (uint64_t opening = 0; opening < kOpeningOperations; ++opening) {
        for (const bool second : {false, true}) {
          auto ran = RunUpTo(operation);
          CrashWith(ran->disk, {}, first);
          ran->disk.DieAfter(opening);
          ran->history->Check(ran->disk, "").IgnoreError();
          if (!ran->disk.dead()) continue;  // There was less to do.
          CrashWith(ran->disk, {}, second);
          const absl::Status kept = ran->history->Check(ran->disk, "");
          ASSERT_TRUE(kept.ok()) << scripted().name << " cut at operation " << operation
                                 << ", then at " << opening << " of its opening: " << kept;
        }
      }
    }
  }
}

// Those whose checksums are ours. The store's are RocksDB's; tests/cluster damages a real one.
class ChangedBytes : public CrashPoints {};

TEST_P(ChangedBytes, AreFoundOrHarmless) {
  auto whole = RunUpTo(UINT64_MAX);
  uint64_t changed = 0;
  for (const std::string& path : whole->disk.Paths()) {
    // The replica's own bytes have no checksum beside them: the scrub is for those.
    if (path.find("-flat.vmdk") != path.npos) continue;
    const uint64_t bytes = whole->disk.Content(path).size();
    for (uint64_t at = 0; at < bytes;
         at += at < kEdgeBytes || at + kEdgeBytes >= bytes ? 1 : kStrideBytes) {
      auto ran = RunUpTo(UINT64_MAX);
      CrashWith(ran->disk, {}, true);
      ran->disk.FlipByte(path, at);
      const absl::Status answer = ran->history->Check(ran->disk, path);
      ASSERT_TRUE(answer.ok()) << "byte " << at << " of " << path << ": " << answer;
      ++changed;
    }
  }
  std::printf("%s: %llu bytes changed\n", scripted().name,
              static_cast<unsigned long long>(changed));
}

INSTANTIATE_TEST_SUITE_P(All, ChangedBytes,
                         ::testing::ValuesIn(HistoriesWhere([](const Scripted& history) {
                           return !history.slow;
                         })),
                         [](const auto& info) { return AllHistories()[info.param].name; });
INSTANTIATE_TEST_SUITE_P(All, CrashPoints, ::testing::Range<size_t>(0, AllHistories().size()),
                         [](const auto& info) { return AllHistories()[info.param].name; });

#endif

}  // namespace
}  // namespace homeward::crash_points
