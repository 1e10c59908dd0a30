// The histories on a real ext4: the kernel's disk is cut behind operations and within them, with
// some of what it had not been told to keep, mounted again, and held against what was promised.
// Which promises those are tells the same history on a simulated disk that dies there. With
// HOMEWARD_PLANTED_BUGS it is another program: that such cuts find the bugs that were planted.
#include <random>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/fault/fault.h"
#include "common/status/status_macros.h"
#include "gtest/gtest.h"
#include "tests/crash_points/cutting_files.h"
#include "tests/crash_points/histories.h"
#include "tests/crash_points/linux/logged_disk.h"
#include "tests/fakes/memory_disk.h"

namespace homeward::crash_points {
namespace {

// Of a history with hundreds of operations some are left out.
constexpr uint64_t kOperationsMax = 40;

class CrashPointsOnExt4 : public ::testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    if (const std::string missing = LoggedDisk::Missing(); !missing.empty())
      GTEST_SKIP() << missing;
    const absl::StatusOr<std::string> directory = LoggedDisk::PrivateDirectory();
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = *directory;
  }
  void TearDown() override {
    if (!directory_.empty()) RemoveAll(directory_);
  }
  const Scripted& scripted() const { return AllHistories()[GetParam()]; }

  // The first promise that a cut breaks.
  absl::Status CutEverywhere(uint64_t* cuts) {
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<LoggedDisk> disk, LoggedDisk::Create(directory_));
    std::vector<uint64_t> instants = {disk->Now()};  // after so many operations
    {
      CuttingFiles files(RealFileSystem(), disk->mount_point());
      files.OnOperation([&] { instants.push_back(disk->Now()); });
      const std::unique_ptr<History> whole = scripted().make();
      whole->Run(files);
    }
    operations_ = instants.size() - 1;
    const uint64_t stride = operations_ / kOperationsMax + 1;
    for (uint64_t operation = 0; operation <= operations_; operation += stride) {
      const uint64_t behind = instants[operation];
      const uint64_t within = operation == operations_
                                  ? behind
                                  : behind + random_() % (instants[operation + 1] - behind + 1);
      for (const uint64_t instant : {behind, within}) {
        for (const double share : {0.0, 0.5, 1.0}) {
          ++*cuts;
          const absl::Status kept = Cut(*disk, operation, instant, share);
          if (!kept.ok())
            return absl::InternalError(absl::StrCat(scripted().name, " cut behind operation ",
                                                    operation, " of ", operations_, ": ",
                                                    kept.ToString()));
        }
      }
    }
    return absl::OkStatus();
  }
  uint64_t operations_ = 0;

 private:
  static void RemoveAll(const std::string& directory) {
    FileSystem& files = RealFileSystem();
    const auto names = files.List(directory);
    for (size_t i = 0; names.ok() && i < names->size(); ++i)
      files.Remove(JoinPath(directory, (*names)[i])).IgnoreError();
    files.Remove(directory).IgnoreError();
  }

  absl::Status Cut(const LoggedDisk& disk, uint64_t operation, uint64_t instant, double share) {
    const std::string at = JoinPath(directory_, "cut");
    HW_ASSIGN_OR_RETURN(
        const std::unique_ptr<MountedImage> mounted,
        MountedImage::Create(at, disk.At(instant, [&] { return coin_(random_) < share; })));
    CuttingFiles left(RealFileSystem(), at);
    MemoryDisk simulated(1);
    CuttingFiles dying(simulated, "");
    dying.DieAfter(operation);
    const std::unique_ptr<History> history = scripted().make();
    history->Run(dying);
    if (operation < operations_ && !dying.dead())
      return absl::FailedPreconditionError("it does less than on ext4");
    return history->Check(left, "");
  }

  std::string directory_;
  std::mt19937_64 random_{11};
  std::uniform_real_distribution<> coin_{0, 1};
};

#ifdef HOMEWARD_PLANTED_BUGS
class PlantedBugsOnExt4 : public CrashPointsOnExt4 {};

TEST_P(PlantedBugsOnExt4, AreFound) {
  fault::SetDecider([this](absl::string_view fault) { return fault == scripted().planted; });
  const absl::Cleanup none = [] { fault::SetDecider(nullptr); };
  uint64_t cuts = 0;
  const absl::Status kept = CutEverywhere(&cuts);
  EXPECT_TRUE(absl::IsInternal(kept))
      << scripted().planted << " was not found by " << cuts << " cuts: " << kept;
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBugsOnExt4, ::testing::ValuesIn(HistoriesWhere(HasPlantedBug)),
                         [](const auto& info) { return AllHistories()[info.param].name; });

#else

TEST_P(CrashPointsOnExt4, CutsKeepEveryPromise) {
  uint64_t cuts = 0;
  const absl::Status kept = CutEverywhere(&cuts);
  EXPECT_TRUE(kept.ok()) << kept;
  std::printf("%s on ext4: %llu operations, %llu cuts\n", scripted().name,
              static_cast<unsigned long long>(operations_), static_cast<unsigned long long>(cuts));
}

INSTANTIATE_TEST_SUITE_P(All, CrashPointsOnExt4, ::testing::Range<size_t>(0, AllHistories().size()),
                         [](const auto& info) { return AllHistories()[info.param].name; });

#endif

}  // namespace
}  // namespace homeward::crash_points
