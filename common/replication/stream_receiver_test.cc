#include "common/replication/stream_receiver.h"

#include "common/replication/stream_sender.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using replication::v1::Upstream;
using ::testing::ElementsAre;

// Says what it was given, in order.
class Listener : public Inbox, public DownstreamLink {
 public:
  absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello&) override {
    return StreamPosition();
  }
  absl::Status Store(std::vector<SealedBatch> batches) override {
    heard.push_back(absl::StrCat(batches.size(), " stored"));
    return storing;
  }
  uint64_t AvailableBytes() override { return kMiB; }
  StreamPosition spooled() const override { return {}; }
  StreamPosition durable() const override { return {}; }
  void OnDigestQuery(const replication::v1::DigestQuery& query, StreamReceiver&) override {
    heard.push_back(absl::StrCat("asked ", query.query_id()));
  }
  void Send(replication::v1::Downstream message) override {
    if (message.has_refusal()) heard.push_back("refused");
  }
  void Close() override {}

  absl::Status storing;
  std::vector<std::string> heard;
};

class StreamReceiverTest : public ::testing::Test {
 protected:
  StreamReceiverTest() {
    Upstream hello;
    hello.mutable_hello()->set_version_major(kReplicationVersionMajor);
    receiver_.OnMessage(hello);
  }
  bool Ask(uint64_t id) {
    Upstream query;
    query.mutable_digest_query()->set_query_id(id);
    return receiver_.OnMessage(query);
  }

  Listener listener_;
  StreamReceiver receiver_{&listener_, &listener_};
};

TEST_F(StreamReceiverTest, AQuestionComesAfterWhatWasSentBeforeIt) {
  EXPECT_TRUE(receiver_.OnBatch(SealedBatch("one"))) << "a flush is due";
  EXPECT_FALSE(receiver_.OnBatch(SealedBatch("two")));
  Ask(7);
  receiver_.Flush();
  Ask(8);
  EXPECT_THAT(listener_.heard, ElementsAre("2 stored", "asked 7", "asked 8"));
}

TEST_F(StreamReceiverTest, AQuestionBehindWhatIsRefusedIsNotHeard) {
  listener_.storing = absl::DataLossError("a gap");
  receiver_.OnBatch(SealedBatch("one"));
  Ask(7);
  EXPECT_THAT(listener_.heard, ElementsAre("1 stored", "refused"));
}

}  // namespace
}  // namespace homeward
