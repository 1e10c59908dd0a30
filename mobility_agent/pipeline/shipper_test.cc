#include "mobility_agent/pipeline/shipper.h"

#include <set>

#include "gtest/gtest.h"
#include "mobility_agent/pipeline/pipeline_doubles.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

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

TEST(Shipper, WhatIsSentIsCompressedAsTheLinkAsksFor) {
  for (const double share : {0.5, 0.0}) {
    MemoryDisk files(1);
    ManualClock clock;
    RamDisk disk(kMiB);
    auto shipper = Shipper::Open(files, clock,
                                 {.machine_id = "m",
                                  .generation = 1,
                                  .state_path = "/state",
                                  .fresh_replica = true,
                                  .linger = absl::ZeroDuration(),
                                  .compression_share = share},
                                 {&disk}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    Recorder link;
    (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
    (*shipper)->sender().OnMessage(Welcome());
    // The encoding of what is written next.
    const auto written = [&] {
      disk.Write(0, Sectors(8, 'x'));
      const size_t before = link.kinds.size();
      for (int i = 0; i < 10; ++i) {
        clock.now += absl::Milliseconds(100);
        (*shipper)->Tick();
      }
      for (size_t i = before; i < link.kinds.size(); ++i) {
        if (link.kinds[i] == BatchKind::kWrites) return link.encodings[i];
      }
      ADD_FAILURE() << "nothing was sent";
      return PayloadEncoding::kPlain;
    };
    const auto asked = [&](replication::v1::Compression compression) {
      replication::v1::Downstream message;
      message.mutable_acknowledgement()->set_link(compression);
      (*shipper)->sender().OnMessage(message);
      return written();
    };
    EXPECT_EQ(written(), PayloadEncoding::kPlain);
    EXPECT_EQ(asked(replication::v1::ZSTD),
              share > 0 ? PayloadEncoding::kZstd : PayloadEncoding::kPlain);
    EXPECT_EQ(asked(replication::v1::COMPRESSION_UNSPECIFIED), PayloadEncoding::kPlain);
    (*shipper)->sender().Disconnect();
  }
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

TEST(Shipper, AMarkerThatWasTakenBeforeItWasAskedForIsNotTheOneThatWasAskedFor) {
  MemoryDisk files(1);
  ManualClock clock;
  RamDisk disk(kMiB);
  disk.logs = true;
  auto shipper = Shipper::Open(files, clock,
                               {.machine_id = "m",
                                .generation = 1,
                                .state_path = "/state",
                                .fresh_replica = true,
                                .batch_bytes = 64 * kKiB},
                               {&disk}, nullptr);
  ASSERT_TRUE(shipper.ok()) << shipper.status();
  Recorder link;
  (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
  (*shipper)->sender().OnMessage(Welcome(16 * kKiB));
  while (link.markers.empty()) {
    clock.now += absl::Milliseconds(50);
    (*shipper)->Tick();
  }
  ASSERT_EQ((*shipper)->tracking(), Shipper::Tracking::kData);
  // The other side takes little, and the log has more than one batch.
  const auto credit = [&](uint64_t bytes) {
    replication::v1::Downstream reply;
    reply.mutable_acknowledgement()->set_credit_bytes(bytes);
    ToProto(link.last, reply.mutable_acknowledgement()->mutable_durable());
    (*shipper)->sender().OnMessage(reply);
  };
  disk.Write(0, std::string(256 * kKiB, 'a'));
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  ASSERT_GT((*shipper)->next_marker(), (*shipper)->last_marker_number() + 1) << "it is in the log";
  // What an operator's hook writes before a machine is turned off.
  disk.Write(512 * kKiB, Sectors(1, 'z'));
  const uint64_t asked = (*shipper)->next_marker();
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  for (uint64_t bytes = 64 * kKiB; (*shipper)->last_marker_number() < asked; bytes += 64 * kKiB) {
    ASSERT_LT(bytes, 64 * kMiB);
    credit(bytes);
    clock.now += absl::Milliseconds(50);
    (*shipper)->Tick();
  }
  ASSERT_EQ(link.markers.size(), 3u) << "the one that was in the log already came first";
  const std::vector<BatchKind> end(link.kinds.end() - 3, link.kinds.end());
  EXPECT_EQ(end, (std::vector{BatchKind::kMarker, BatchKind::kWrites, BatchKind::kMarker}));
  EXPECT_EQ(link.markers.back().id, (*shipper)->last_point());
  (*shipper)->sender().Disconnect();
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

}  // namespace
}  // namespace homeward
