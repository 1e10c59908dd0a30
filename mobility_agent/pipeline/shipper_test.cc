#include "mobility_agent/pipeline/shipper.h"

#include <climits>
#include <set>

#include "common/os/memory_disk.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"

namespace homeward {
namespace {

class QuietDisk : public WriteSource {
 public:
  uint64_t size_bytes() const override { return kMiB; }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    if (!written) return Collected();
    written = false;
    changed[0] = {0, 4096};
    return Collected{1, false};
  }
  absl::Status Read(uint64_t, MutableBytes out) override {
    std::fill(out.begin(), out.end(), 7);
    return absl::OkStatus();
  }
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration) override { return absl::OkStatus(); }
  void Thaw() override {}
  bool written = false;
};

class Recorder : public UpstreamLink {
 public:
  void Send(replication::v1::Upstream message) override { sent.push_back(std::move(message)); }
  void SendBatch(SealedBatch sealed) override {
    ++batches;
    last = PeekBatchHeader(sealed.view())->position;
    ParsedBatch batch;
    ASSERT_TRUE(ParseBatch(sealed.view(), /*decode=*/true, &batch).ok());
    kinds.push_back(batch.header.kind);
    if (batch.header.kind == BatchKind::kMarker) markers.push_back(*ParseMarker(batch));
  }
  void Close() override {}
  std::vector<replication::v1::Upstream> sent;
  int batches = 0;
  StreamPosition last;
  std::vector<BatchKind> kinds;
  std::vector<Marker> markers;
};

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

replication::v1::Downstream Welcome(uint64_t credit_bytes = 64 * kMiB) {
  replication::v1::Downstream reply;
  reply.mutable_hello_reply()->set_version_major(kReplicationVersionMajor);
  reply.mutable_hello_reply()->mutable_acknowledgement()->set_credit_bytes(credit_bytes);
  return reply;
}

// A reply to the agent that was here before may still arrive.
TEST(Shipper, ARestartedAgentNeverAsksUnderANumberThatWasUsed) {
  MemoryDisk files(1);
  const ManualClock clock;
  QuietDisk disk;
  std::set<uint64_t> numbers;
  for (int start = 0; start < 3; ++start) {
    auto shipper =
        Shipper::Open(files, clock, {.machine_id = "m", .generation = 1, .state_path = "/state"},
                      {&disk}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    Recorder link;
    (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
    (*shipper)->sender().OnMessage(Welcome());
    (*shipper)->Tick();
    int asked = 0;
    for (const replication::v1::Upstream& message : link.sent) {
      if (!message.has_digest_query()) continue;
      ++asked;
      EXPECT_TRUE(numbers.insert(message.digest_query().query_id()).second)
          << message.digest_query().query_id();
    }
    EXPECT_GT(asked, 0);
    (*shipper)->sender().Disconnect();
  }
}

TEST(Shipper, AWriteWaitsForOthersButAPointDoesNot) {
  MemoryDisk files(1);
  ManualClock clock;
  QuietDisk disk;
  auto shipper = Shipper::Open(files, clock,
                               {.machine_id = "m",
                                .generation = 1,
                                .state_path = "/state",
                                .fresh_replica = true,
                                .linger = absl::Milliseconds(500)},
                               {&disk}, nullptr);
  ASSERT_TRUE(shipper.ok()) << shipper.status();
  Recorder link;
  (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
  (*shipper)->sender().OnMessage(Welcome());
  const auto tick = [&](absl::Duration later) {
    clock.now += later;
    const int before = link.batches;
    (*shipper)->Tick();
    return link.batches - before;
  };
  while (tick(absl::Milliseconds(50)) > 0) continue;
  ASSERT_EQ((*shipper)->markers_sealed(), 1u) << "synchronised, and a point made";

  disk.written = true;
  EXPECT_EQ(tick(absl::Milliseconds(50)), 0);
  disk.written = true;
  EXPECT_EQ(tick(absl::Milliseconds(450)), 0);
  EXPECT_EQ(tick(absl::Milliseconds(50)), 1) << "both in one";

  disk.written = true;
  EXPECT_EQ(tick(absl::Milliseconds(50)), 0);
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  EXPECT_EQ((*shipper)->markers_sealed(), 2u);
  (*shipper)->sender().Disconnect();
}

// A disk that is away for a while, and one that was resized and has its old size again.
TEST(Shipper, ADiskThatIsWhatItWasAgainIsComparedAndGoesOn) {
  for (const uint64_t now_bytes : {uint64_t{0}, 2 * kMiB}) {
    MemoryDisk files(1);
    ManualClock clock;
    struct : QuietDisk {
      absl::Status Present() override {
        return now_bytes == kMiB ? absl::OkStatus() : NotPresent(kMiB, now_bytes);
      }
      absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
        if (!Present().ok()) return Present();
        return QuietDisk::Collect(changed);
      }
      uint64_t now_bytes = kMiB;
    } disk;
    auto shipper = Shipper::Open(files, clock,
                                 {.machine_id = "m",
                                  .generation = 1,
                                  .state_path = "/state",
                                  .fresh_replica = true,
                                  .linger = absl::ZeroDuration()},
                                 {&disk}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    Recorder link;
    (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
    (*shipper)->sender().OnMessage(Welcome());
    const auto tick = [&](int times) {
      for (int i = 0; i < times; ++i) {
        clock.now += absl::Milliseconds(50);
        (*shipper)->Tick();
      }
    };
    tick(20);
    ASSERT_FALSE((*shipper)->syncing());

    disk.now_bytes = now_bytes;
    disk.written = true;
    const int before = link.batches;
    tick(1000);
    EXPECT_EQ((*shipper)->away().code(), now_bytes == 0 ? absl::StatusCode::kUnavailable
                                                        : absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE((*shipper)->refused().ok());
    EXPECT_EQ(link.batches, before);

    disk.now_bytes = kMiB;
    tick(1);
    EXPECT_TRUE((*shipper)->away().ok());
    EXPECT_TRUE((*shipper)->syncing()) << "nobody saw what was done to it";
    EXPECT_GT(link.batches, before);
    (*shipper)->sender().Disconnect();
  }
}

TEST(Shipper, AChangeThatIsMissedOnTheWayToAPointBeginsAnEpochAtItsFirstEntry) {
  MemoryDisk files(1);
  ManualClock clock;
  struct : QuietDisk {
    void BeginWriteBack() override { misses = armed; }
    absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
      if (std::exchange(misses, false)) return absl::DataLossError("the map was full");
      return QuietDisk::Collect(changed);
    }
    bool armed = false, misses = false;
  } disk;
  auto shipper = Shipper::Open(
      files, clock,
      {.machine_id = "m", .generation = 1, .state_path = "/state", .fresh_replica = true}, {&disk},
      nullptr);
  ASSERT_TRUE(shipper.ok()) << shipper.status();
  Recorder link;
  (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
  (*shipper)->sender().OnMessage(Welcome());
  for (int i = 0; i < 10; ++i) (*shipper)->Tick();
  ASSERT_EQ(link.kinds.back(), BatchKind::kMarker);

  disk.written = disk.armed = true;
  link.kinds.clear();
  (*shipper)->Tick();
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  EXPECT_TRUE((*shipper)->syncing());
  ASSERT_FALSE(link.kinds.empty());
  EXPECT_EQ(link.kinds.front(), BatchKind::kEpochBegin);
  (*shipper)->sender().Disconnect();
}

TEST(Shipper, ARefusedStreamGoesOnWhenItIsTakenAgain) {
  MemoryDisk files(1);
  ManualClock clock;
  QuietDisk disk;
  auto shipper = Shipper::Open(
      files, clock,
      {.machine_id = "m", .generation = 1, .state_path = "/state", .fresh_replica = true}, {&disk},
      nullptr);
  ASSERT_TRUE(shipper.ok()) << shipper.status();
  Recorder link;
  (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
  replication::v1::Downstream refusal;
  refusal.mutable_refusal()->set_code(static_cast<int>(absl::StatusCode::kFailedPrecondition));
  refusal.mutable_refusal()->set_message("upgrade one of the two");
  (*shipper)->sender().OnMessage(refusal);
  clock.now += absl::Hours(1);
  (*shipper)->Tick();
  EXPECT_FALSE((*shipper)->refused().ok()) << "nothing says that it is over";
  (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
  (*shipper)->sender().OnMessage(Welcome());
  (*shipper)->Tick();
  EXPECT_TRUE((*shipper)->refused().ok());
  EXPECT_GT(link.batches, 0);
  (*shipper)->sender().Disconnect();
}

// All of it is written again between two looks, until it is quiet.
class BusyDisk : public QuietDisk {
 public:
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    if (quiet) return Collected();
    changed[0] = {0, kMiB};
    return Collected{1, false};
  }
  void BeginFreeze() override { ++freezes; }
  void BeginWriteBack() override { ++write_backs; }
  bool WrittenBack() override { return clock.now >= write_back_ends; }
  explicit BusyDisk(const ManualClock& time) : clock(time) {}
  const ManualClock& clock;
  absl::Duration write_back_ends;
  int freezes = 0, write_backs = 0;
  bool quiet = false;
};

// Is prepared for 90 ms and stands still for the last 10 of them.
class PreparedDisk : public QuietDisk {
 public:
  explicit PreparedDisk(ManualClock* time) : clock(*time) { rest_.still = {"ext4 on /"}; }
  absl::Status AwaitFrozen(absl::Duration timeout) override {
    clock.now += absl::Milliseconds(90);
    if (tells) rest_.stood_for = absl::Milliseconds(10);
    return absl::OkStatus();
  }
  const Rest& rest() const override { return rest_; }
  ManualClock& clock;
  bool tells = true;

 private:
  Rest rest_;
};

TEST(Shipper, AFreezeLastsFromWhenTheFirstDiskWasToldToStandStill) {
  MemoryDisk files(1);
  ManualClock clock;
  PreparedDisk disk(&clock), other(&clock);
  other.tells = false;
  for (const auto& [sources, expected] :
       std::vector<std::pair<std::vector<WriteSource*>, absl::Duration>>{
           {{&disk}, absl::Milliseconds(10)},
           {{&disk, &disk}, absl::Milliseconds(100)},  // the first stands while the second comes
           {{&disk, &other}, absl::Milliseconds(180)}}) {  // one that does not tell
    auto shipper =
        Shipper::Open(files, clock,
                      {.machine_id = "m",
                       .generation = 1,
                       .state_path = absl::StrCat("/state", absl::ToInt64Milliseconds(expected)),
                       .fresh_replica = true},
                      sources, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    Recorder link;
    (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
    (*shipper)->sender().OnMessage(Welcome(4 * kMiB));
    for (int i = 0; i < 20 && (*shipper)->freezes().empty(); ++i) {
      clock.now += absl::Milliseconds(50);
      (*shipper)->Tick();
      replication::v1::Downstream reply;
      reply.mutable_acknowledgement()->set_credit_bytes(64 * kMiB);
      ToProto(link.last, reply.mutable_acknowledgement()->mutable_durable());
      (*shipper)->sender().OnMessage(reply);
    }
    ASSERT_EQ((*shipper)->freezes().size(), 1u);
    EXPECT_EQ((*shipper)->freezes().front(), expected);
  }
}

// Never comes to rest in time.
class RestlessFreeze : public QuietDisk {
 public:
  void BeginFreeze() override { ++freezes; }
  absl::Status AwaitFrozen(absl::Duration) override { return absl::DeadlineExceededError("late"); }
  int freezes = 0;
};

TEST(Shipper, AFreezeThatTookTooLongIsNotTriedAgainAtOnce) {
  MemoryDisk files(1);
  ManualClock clock;
  RestlessFreeze disk;
  auto shipper = Shipper::Open(
      files, clock,
      {.machine_id = "m", .generation = 1, .state_path = "/state", .fresh_replica = true}, {&disk},
      nullptr);
  ASSERT_TRUE(shipper.ok()) << shipper.status();
  Recorder link;
  (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
  (*shipper)->sender().OnMessage(Welcome(64 * kMiB));
  const auto tick = [&](absl::Duration time) {
    for (const absl::Duration end = clock.now + time; clock.now < end;) {
      clock.now += absl::Milliseconds(500);
      if ((*shipper)->markers_sealed() > 0) (*shipper)->RequestMarker(PointKind::kCrashConsistent);
      (*shipper)->Tick();
      replication::v1::Downstream reply;
      reply.mutable_acknowledgement()->set_credit_bytes(64 * kMiB);
      ToProto(link.last, reply.mutable_acknowledgement()->mutable_durable());
      (*shipper)->sender().OnMessage(reply);
    }
  };
  tick(absl::Seconds(50));
  EXPECT_EQ(disk.freezes, 1);
  EXPECT_GT((*shipper)->markers_sealed(), 5u) << "points are made without";
  tick(absl::Seconds(30));
  EXPECT_EQ(disk.freezes, 2) << "after a minute";
  tick(absl::Seconds(80));
  EXPECT_EQ(disk.freezes, 2) << "and after two";
  tick(absl::Seconds(30));
  EXPECT_EQ(disk.freezes, 3);
}

TEST(Shipper, AMachineIsNotFrozenForMoreThanAFreezeCouldRead) {
  MemoryDisk files(1);
  ManualClock clock;
  BusyDisk disk(clock);
  disk.quiet = true;
  auto shipper = Shipper::Open(
      files, clock,
      {.machine_id = "m",
       .generation = 1,
       .state_path = "/state",
       .fresh_replica = true,
       .points = {.chase_patience = absl::Seconds(15), .frozen_bytes_max = 512 * kKiB}},
      {&disk}, nullptr);
  ASSERT_TRUE(shipper.ok()) << shipper.status();
  Recorder link;
  (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
  (*shipper)->sender().OnMessage(Welcome(4 * kMiB));
  uint64_t credit_bytes = 4 * kMiB;
  const auto tick = [&](int times) {
    for (int i = 0; i < times; ++i) {
      clock.now += absl::Milliseconds(50);
      (*shipper)->Tick();
      replication::v1::Downstream reply;
      reply.mutable_acknowledgement()->set_credit_bytes(credit_bytes += 4 * kMiB);
      ToProto(link.last, reply.mutable_acknowledgement()->mutable_durable());
      (*shipper)->sender().OnMessage(reply);
    }
  };
  tick(20);
  ASSERT_EQ((*shipper)->markers_sealed(), 1u);
  ASSERT_EQ(disk.freezes, 1);

  disk.quiet = false;
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  tick(50);
  EXPECT_EQ(disk.freezes, 1) << "each would have been in vain";
  EXPECT_EQ((*shipper)->markers_sealed(), 1u);
  // There is a point all the same, and it says what it is.
  tick(400);
  EXPECT_EQ(disk.freezes, 1);
  ASSERT_EQ((*shipper)->markers_sealed(), 2u);
  ASSERT_EQ(link.markers.size(), 2u);
  EXPECT_EQ(link.markers[1].consistency, Consistency::kNotOneInstant);
  EXPECT_EQ(link.markers[1].how, "disk 0 is written to faster than it can be copied");
  EXPECT_EQ((*shipper)->not_one_instant(), link.markers[1].how);
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  tick(50);
  disk.quiet = true;
  tick(5);
  EXPECT_EQ(disk.freezes, 2);
  EXPECT_EQ((*shipper)->markers_sealed(), 3u);
  EXPECT_EQ((*shipper)->not_one_instant(), "");

  // A write-back that took long leaves as much behind: another comes before the freeze.
  const int before = disk.write_backs;
  disk.write_back_ends = clock.now + absl::Milliseconds(400);
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  tick(20);
  EXPECT_EQ(disk.write_backs, before + 2);
  EXPECT_EQ(disk.freezes, 3);
  EXPECT_EQ((*shipper)->markers_sealed(), 4u);
  (*shipper)->sender().Disconnect();
}

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
