#include <climits>

#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"
#include "mobility_agent/pipeline/shipper.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

// Something writes to it while it is read, whether or not it is frozen.
class RestlessDisk : public QuietDisk {
 public:
  explicit RestlessDisk(ManualClock* clock) : clock_(*clock) {}
  uint64_t size_bytes() const override { return 16 * kMiB; }
  absl::Status Read(uint64_t offset, MutableBytes out) override {
    ++reads;
    clock_.now += absl::Milliseconds(1);
    if (writes_left > 0) {
      --writes_left;
      written = true;
    }
    return QuietDisk::Read(offset, out);
  }
  absl::Status AwaitFrozen(absl::Duration) override {
    return freezes ? absl::OkStatus() : absl::DeadlineExceededError("/mnt does not stand still");
  }
  const Rest& rest() const override { return rest_; }
  std::string LastWriter() const override { return "fio (pid 7)"; }
  int reads = 0;
  int writes_left = 0;
  bool freezes = true;
  Rest rest_{.still = {"ext4 on /mnt"}, .moving = {}};

 private:
  ManualClock& clock_;
};

// A shipper that has synchronised and made its first point.
class PointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto shipper = Shipper::Open(
        files_, clock_,
        {.machine_id = "m",
         .generation = 1,
         .state_path = "/state",
         .fresh_replica = true,
         .points = {.marker_interval = absl::InfiniteDuration(), .disk_names = {"/dev/sdb"}}},
        {&disk_}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    shipper_ = *std::move(shipper);
    shipper_->sender().Connect(&link_, shipper_->MakeHello());
    shipper_->sender().OnMessage(Welcome());
    while (link_.markers.empty()) Tick();
  }
  void TearDown() override { shipper_->sender().Disconnect(); }
  void Tick() {
    clock_.now += absl::Milliseconds(50);
    shipper_->Tick();
  }
  // What the next point says of itself.
  Marker NextMarker() {
    const size_t before = link_.markers.size();
    disk_.written = true;
    shipper_->RequestMarker(PointKind::kApplicationConsistent);
    const absl::Duration end = clock_.now + absl::Minutes(5);
    while (link_.markers.size() == before && clock_.now < end) Tick();
    return link_.markers.size() == before ? Marker{} : link_.markers.back();
  }

  MemoryDisk files_{1};
  ManualClock clock_;
  RestlessDisk disk_{&clock_};
  Recorder link_;
  std::unique_ptr<Shipper> shipper_;
};

TEST_F(PointTest, SaysWhatStoodStill) {
  const Marker marker = NextMarker();
  EXPECT_EQ(marker.consistency, Consistency::kFrozen);
  EXPECT_EQ(marker.how, "stood still: ext4 on /mnt");
  EXPECT_EQ(marker.kind, PointKind::kApplicationConsistent);
}

TEST_F(PointTest, WhatWasWrittenMeanwhileIsReadAgainUntilNothingIs) {
  disk_.reads = 0;
  disk_.writes_left = 5;
  const Marker marker = NextMarker();
  EXPECT_EQ(marker.consistency, Consistency::kFrozen);
  EXPECT_EQ(disk_.reads, 6) << "one pass, and one for each write";
  EXPECT_EQ(shipper_->not_one_instant(), "");
}

TEST_F(PointTest, WhatCannotBeFrozenIsUndisturbedWhenNothingWasWritten) {
  disk_.rest_.moving = {"swap on /dev/sdb2"};
  Marker marker = NextMarker();
  EXPECT_EQ(marker.consistency, Consistency::kUndisturbed);
  EXPECT_NE(marker.how.find("swap on /dev/sdb2"), std::string::npos) << marker.how;
  disk_.freezes = false;
  marker = NextMarker();
  EXPECT_EQ(marker.consistency, Consistency::kUndisturbed);
  EXPECT_NE(marker.how.find("/mnt does not stand still"), std::string::npos) << marker.how;
}

TEST_F(PointTest, AWriterThatNeverPausesMakesItNotOneInstantAndIsNamed) {
  disk_.writes_left = INT_MAX;
  const absl::Duration begun = clock_.now;
  const Marker marker = NextMarker();
  EXPECT_EQ(marker.consistency, Consistency::kNotOneInstant);
  EXPECT_EQ(marker.kind, PointKind::kCrashConsistent) << "what the application promised is void";
  EXPECT_EQ(marker.how, "/dev/sdb was written to all the time, last by fio (pid 7)");
  EXPECT_EQ(shipper_->not_one_instant(), marker.how);
  EXPECT_GE(clock_.now - begun, absl::Seconds(15)) << "it was tried for long";
  EXPECT_LE(shipper_->freezes().size(), 12u) << "and not all the time";
  disk_.writes_left = 0;
  EXPECT_EQ(NextMarker().consistency, Consistency::kFrozen);
  EXPECT_EQ(shipper_->not_one_instant(), "");
}

TEST_F(PointTest, ASynchronisationEndsBesideWritesThatDoNot) {
  disk_.writes_left = INT_MAX;
  ASSERT_TRUE(shipper_->Resync().ok());
  // All blocks are the same on both sides.
  size_t answered = link_.sent.size();
  for (int i = 0; i < 500 && shipper_->syncing(); ++i) {
    disk_.written = true;
    Tick();
    for (; answered < link_.sent.size(); ++answered) {
      if (!link_.sent[answered].has_digest_query()) continue;
      replication::v1::Downstream down;
      down.mutable_digest_reply()->set_query_id(link_.sent[answered].digest_query().query_id());
      shipper_->sender().OnMessage(down);
    }
    replication::v1::Downstream down;
    down.mutable_acknowledgement()->set_credit_bytes(kGiB);
    shipper_->sender().OnMessage(down);
  }
  EXPECT_FALSE(shipper_->syncing());
}

}  // namespace
}  // namespace homeward
