// Streams of the last protocol but one, 1.8, before there was any encryption: what its agent and
// its process server sent and were answered was recorded, in frames of the data channel without
// TLS. A machine of 256 KiB is synchronised, is written to, and has three points; its old process
// server refuses it twice in between, which was a fault of that version.
#include <deque>

#include "common/replica/replica_stream.h"
#include "gtest/gtest.h"
#include "master_target/keeper/keeper.h"
#include "process_server/relay/relay.h"
#include "tests/fakes/memory_disk.h"
#include "tests/fakes/point_content.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using replication::v1::Downstream;
using replication::v1::Upstream;

constexpr char kMachine[] = "e0a5ba4291412df6eccbb91fc80a8004";
constexpr uint64_t kDiskBytes = 256 * kKiB;
constexpr uint64_t kEpoch = 1796003457191037;

struct Frame {
  bool is_batch = false;
  std::string body;
};

std::vector<Frame> Recorded(const std::string& name) {
  const std::string bytes = testing::ReadGolden(name);
  EXPECT_FALSE(bytes.empty()) << name;
  std::vector<Frame> frames;
  for (FieldReader reader(bytes); !reader.rest().empty();) {
    const uint32_t length = reader.U32();
    const bool is_batch = reader.U16() == 2;
    reader.U16();
    reader.U64();
    frames.push_back({is_batch, std::string(reader.Raw(length))});
    if (!reader.ok()) break;
  }
  return frames;
}

// What the machine held at the end.
std::string Content() {
  std::string content;
  while (content.size() < 16 * kKiB) content += "The first content of the disk. ";
  content.resize(16 * kKiB);
  content.resize(kDiskBytes);
  const std::string twice = "written twice", there = "and there";
  content.replace(4096, 4096, twice + std::string(4096 - twice.size(), 'z'));
  content.replace(8192, 4096, std::string(4096, '\0'));
  content.replace(131072, 8192, there + std::string(8192 - there.size(), 'y'));
  return content;
}

// What a receiver answers.
class Answers : public DownstreamLink {
 public:
  void Send(Downstream message) override { all.push_back(std::move(message)); }
  void Close() override { closed = true; }
  std::deque<Downstream> all;
  bool closed = false;
};

class RecordedStreamsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(disk_.MakeDirectories("/ds").ok());
    auto file = disk_.Open("/ds/0", OpenMode::kCreate);
    ASSERT_TRUE(file.ok() && (*file)->Truncate(kDiskBytes).ok());
    std::vector<ReplicaDisk> disks;
    disks.push_back({*std::move(file), kDiskBytes});
    keeper_ = *Keeper::Open(disk_, "/retention", std::move(disks));
    keeper_->SetKeys({.takes_plain = true});
    ASSERT_TRUE(keeper_->Fence(1).ok());
    stream_ = std::make_unique<ReplicaStream>(
        keeper_.get(), ReplicaStream::Options{.machine_id = kMachine, .disk_bytes = {kDiskBytes}});
  }

  static void Feed(StreamReceiver* receiver, const std::vector<Frame>& frames,
                   const std::function<void()>& after) {
    for (const Frame& frame : frames) {
      Upstream message;
      if (frame.is_batch) {
        receiver->OnBatch(SealedBatch(frame.body));
      } else {
        ASSERT_TRUE(message.ParseFromString(frame.body));
        receiver->OnMessage(std::move(message));
      }
      receiver->Flush();
      after();
    }
  }
  void ExpectTheMachine() {
    EXPECT_EQ(keeper_->position(), (StreamPosition{kEpoch, 7}));
    EXPECT_TRUE(disk_.Content("/ds/0") == Content());
    ASSERT_EQ(keeper_->points().size(), 3u);
    const std::string last = keeper_->points().back().marker.id;
    const auto seen = PointContent(*keeper_, last);
    ASSERT_TRUE(seen.ok()) << seen.status();
    EXPECT_TRUE((*seen)[0] == Content());
  }

  MemoryDisk disk_{1};
  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<ReplicaStream> stream_;
};

TEST_F(RecordedStreamsTest, AMasterTargetTakesWhatAnOlderProcessServerSends) {
  Answers answers;
  StreamReceiver receiver(stream_.get(), &answers);
  Feed(&receiver, Recorded("stream_relay_v1_8_up.bin"), [] {});
  EXPECT_FALSE(answers.closed);
  EXPECT_EQ(answers.all.front().hello_reply().version_minor(), 8u);
  EXPECT_EQ(FromProto(answers.all.back().acknowledgement().durable()), (StreamPosition{kEpoch, 7}));
  ExpectTheMachine();
}

TEST_F(RecordedStreamsTest, AProcessServerTakesWhatAnOlderAgentSendsAndCompressesIt) {
  auto relay = *Relay::Open(disk_, {.machine_id = kMachine,
                                    .generation = 1,
                                    .disk_bytes = {kDiskBytes},
                                    .spool = {"/spool", kMiB},
                                    .compression = PayloadEncoding::kLz4});
  Answers from_target;
  StreamReceiver target(stream_.get(), &from_target);
  class ToTarget : public UpstreamLink {
   public:
    explicit ToTarget(StreamReceiver* target) : target_(*target) {}
    void Send(Upstream message) override { target_.OnMessage(std::move(message)); }
    void SendBatch(SealedBatch batch) override {
      target_.OnBatch(std::move(batch));
      target_.Flush();
    }
    void Close() override {}

   private:
    StreamReceiver& target_;
  } link(&target);
  // The sender is never called back from within a message to it.
  const auto answer = [&] {
    while (!from_target.all.empty()) {
      const Downstream message = std::move(from_target.all.front());
      from_target.all.pop_front();
      relay->sender().OnMessage(message);
    }
  };
  relay->sender().Connect(&link, relay->MakeHello());
  answer();
  uint64_t received_bytes = 0;
  for (int call = 1; call <= 3; ++call) {
    Answers answers;
    StreamReceiver receiver(relay.get(), &answers);
    const std::vector<Frame> frames = Recorded(absl::StrCat("stream_agent_v1_8_up_", call, ".bin"));
    for (const Frame& frame : frames) received_bytes += frame.is_batch ? frame.body.size() : 0;
    Feed(&receiver, frames, answer);
    EXPECT_FALSE(answers.closed) << "call " << call;
    EXPECT_EQ(answers.all.front().hello_reply().version_minor(), 8u);
  }
  ExpectTheMachine();
  EXPECT_LT(relay->forwarded_bytes(), received_bytes / 10) << "an agent of 1.8 compresses nothing";
  relay->sender().Disconnect();
}

// A sender that has nothing to say.
class Listener : public Outbox, public UpstreamLink {
 public:
  absl::Status ResumeAfter(StreamPosition position) override {
    held.push_back(position);
    return absl::OkStatus();
  }
  absl::StatusOr<SealedBatch> NextBatch() override { return SealedBatch(); }
  void OnAcknowledged(StreamPosition, StreamPosition now) override { durable = now; }
  void OnLink(const Compression& link) override { EXPECT_TRUE(link.none()); }
  void OnDigestReply(const replication::v1::DigestReply&) override {}
  void OnRepairRequest(const replication::v1::RepairRequest&) override {}
  void OnRefused(const absl::Status& status) override { refused = status; }
  void Send(Upstream) override {}
  void SendBatch(SealedBatch) override {}
  void Close() override {}

  std::vector<StreamPosition> held;
  StreamPosition durable;
  absl::Status refused;
};

TEST(RecordedAnswersTest, ASenderUnderstandsWhatAnOlderReceiverSays) {
  struct Expected {
    std::string name;
    StreamPosition held, durable;
    bool refused;
  };
  for (const Expected& expected :
       {Expected{"stream_agent_v1_8_down_1.bin", {0, 0}, {kEpoch, 3}, true},
        Expected{"stream_agent_v1_8_down_2.bin", {kEpoch, 3}, {kEpoch, 5}, true},
        Expected{"stream_relay_v1_8_down.bin", {0, 0}, {kEpoch, 7}, false}}) {
    SCOPED_TRACE(expected.name);
    Listener listener;
    StreamSender sender(&listener);
    sender.Connect(&listener, {});
    for (const Frame& frame : Recorded(expected.name)) {
      Downstream message;
      ASSERT_TRUE(message.ParseFromString(frame.body));
      sender.OnMessage(message);
    }
    EXPECT_EQ(listener.held, std::vector<StreamPosition>{expected.held});
    EXPECT_EQ(listener.durable, expected.durable);
    EXPECT_EQ(absl::IsOutOfRange(listener.refused), expected.refused) << listener.refused;
    EXPECT_EQ(sender.streaming(), !expected.refused);
    sender.Disconnect();
  }
}

}  // namespace
}  // namespace homeward
