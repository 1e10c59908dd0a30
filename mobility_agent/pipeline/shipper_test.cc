#include "mobility_agent/pipeline/shipper.h"

#include <set>

#include "common/os/memory_disk.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

class TickingClock : public Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1700000000); }
  absl::Duration Monotonic() const override { return absl::Seconds(1); }
};

class QuietDisk : public WriteSource {
 public:
  uint64_t size_bytes() const override { return kMiB; }
  absl::StatusOr<Collected> Collect(absl::Span<Extent>) override { return Collected(); }
  absl::Status Read(uint64_t, MutableBytes out) override {
    std::fill(out.begin(), out.end(), 7);
    return absl::OkStatus();
  }
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration) override { return absl::OkStatus(); }
  void Thaw() override {}
};

class Recorder : public UpstreamLink {
 public:
  void Send(replication::v1::Upstream message) override { sent.push_back(std::move(message)); }
  void SendBatch(SealedBatch) override {}
  void Close() override {}
  std::vector<replication::v1::Upstream> sent;
};

// A reply to the agent that was here before may still arrive.
TEST(Shipper, ARestartedAgentNeverAsksUnderANumberThatWasUsed) {
  MemoryDisk files(1);
  const TickingClock clock;
  QuietDisk disk;
  std::set<uint64_t> numbers;
  for (int start = 0; start < 3; ++start) {
    auto shipper =
        Shipper::Open(files, clock, {.machine_id = "m", .generation = 1, .state_path = "/state"},
                      {&disk}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    Recorder link;
    (*shipper)->sender().Connect(&link, (*shipper)->MakeHello());
    replication::v1::Downstream reply;
    reply.mutable_hello_reply()->set_version_major(kReplicationVersionMajor);
    reply.mutable_hello_reply()->mutable_acknowledgement()->set_credit_bytes(kMiB);
    (*shipper)->sender().OnMessage(reply);
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

}  // namespace
}  // namespace homeward
