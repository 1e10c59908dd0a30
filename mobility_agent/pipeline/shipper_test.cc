#include "mobility_agent/pipeline/shipper.h"

#include <set>

#include "common/os/memory_disk.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

class ManualClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1700000000) + now; }
  absl::Duration Monotonic() const override { return now; }
  absl::Duration now = absl::Seconds(1);
};

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
  }
  void Close() override {}
  std::vector<replication::v1::Upstream> sent;
  int batches = 0;
  StreamPosition last;
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

TEST(Shipper, AMachineIsNotFrozenForMoreThanAFreezeCouldRead) {
  MemoryDisk files(1);
  ManualClock clock;
  BusyDisk disk(clock);
  disk.quiet = true;
  auto shipper = Shipper::Open(files, clock,
                               {.machine_id = "m",
                                .generation = 1,
                                .state_path = "/state",
                                .fresh_replica = true,
                                .frozen_bytes_max = 512 * kKiB},
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
  disk.quiet = true;
  tick(5);
  EXPECT_EQ(disk.freezes, 2);
  EXPECT_EQ((*shipper)->markers_sealed(), 2u);

  // A write-back that took long leaves as much behind: another comes before the freeze.
  const int before = disk.write_backs;
  disk.write_back_ends = clock.now + absl::Milliseconds(400);
  (*shipper)->RequestMarker(PointKind::kCrashConsistent);
  tick(20);
  EXPECT_EQ(disk.write_backs, before + 2);
  EXPECT_EQ(disk.freezes, 3);
  EXPECT_EQ((*shipper)->markers_sealed(), 3u);
  (*shipper)->sender().Disconnect();
}

}  // namespace
}  // namespace homeward
