// A newer minor version only adds what an older peer may ignore. The bytes below were recorded from
// a peer of version 1.11 that knows fields and messages this one does not.
#include <fstream>
#include <sstream>

#include "common/replication/stream_order.h"
#include "common/replication/stream_receiver.h"
#include "common/replication/stream_sender.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using replication::v1::Downstream;
using replication::v1::Upstream;

std::string Golden(const std::string& name) {
  std::ostringstream out;
  out << std::ifstream(HOMEWARD_SOURCE_DIR "/tests/golden/" + name, std::ios::binary).rdbuf();
  return out.str();
}

class EmptyInbox : public Inbox {
 public:
  absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello& hello) override {
    machine = hello.machine_id();
    return StreamPosition{4, 2};
  }
  absl::Status Store(std::vector<SealedBatch>) override { return absl::OkStatus(); }
  uint64_t AvailableBytes() override { return 1000; }
  StreamPosition spooled() const override { return {4, 2}; }
  StreamPosition durable() const override { return {4, 1}; }
  void OnDigestQuery(const replication::v1::DigestQuery&, StreamReceiver&) override {}
  std::string machine;
};

class Recorder : public DownstreamLink, public UpstreamLink {
 public:
  void Send(Downstream message) override { down.push_back(message); }
  void Send(Upstream message) override { up.push_back(message); }
  void SendBatch(SealedBatch) override {}
  void Close() override { closed = true; }
  std::vector<Downstream> down;
  std::vector<Upstream> up;
  bool closed = false;
};

TEST(Versions, AHelloOfANewerMinorVersionIsTaken) {
  Upstream hello, unknown;
  ASSERT_TRUE(hello.ParseFromString(Golden("replication_hello_v1_11.bin")));
  ASSERT_TRUE(unknown.ParseFromString(Golden("replication_unknown_message_v1_11.bin")));
  EXPECT_EQ(hello.hello().version_minor(), 11u);
  EXPECT_EQ(unknown.message_case(), Upstream::MESSAGE_NOT_SET) << "it is not of our time";
  EmptyInbox inbox;
  Recorder link;
  StreamReceiver receiver(&inbox, &link);
  receiver.OnMessage(hello);
  receiver.OnMessage(unknown);
  EXPECT_EQ(inbox.machine, "m1");
  ASSERT_EQ(link.down.size(), 1u);
  EXPECT_EQ(link.down[0].hello_reply().version_minor(), kReplicationVersionMinor)
      << "both speak the older of the two";
  EXPECT_FALSE(link.closed);
}

class NothingToSend : public Outbox {
 public:
  absl::Status ResumeAfter(StreamPosition position) override {
    held = position;
    return absl::OkStatus();
  }
  absl::StatusOr<SealedBatch> NextBatch() override { return SealedBatch(); }
  void OnAcknowledged(StreamPosition, StreamPosition) override {}
  void OnLink(const Compression& compression) override { link = compression; }
  void OnDigestReply(const replication::v1::DigestReply&) override {}
  void OnRepairRequest(const replication::v1::RepairRequest&) override {}
  void OnRefused(const absl::Status&) override { refused = true; }
  StreamPosition held;
  Compression link;
  bool refused = false;
};

TEST(Versions, WhatTheLinkAsksForIsTakenAsFarAsItIsKnown) {
  NothingToSend outbox;
  Recorder link;
  StreamSender sender(&outbox);
  sender.Connect(&link, {});
  Downstream message;
  message.mutable_hello_reply()->set_version_major(kReplicationVersionMajor);
  sender.OnMessage(message);
  const auto told = [&](int value) {
    message.mutable_acknowledgement()->set_link(static_cast<replication::v1::Compression>(value));
    sender.OnMessage(message);
    return outbox.link;
  };
  for (const Compression& one :
       {Compression{PayloadEncoding::kLz4}, Compression{PayloadEncoding::kZstd},
        Compression{PayloadEncoding::kZstd, CompressionEffort::kThorough}, Compression()})
    EXPECT_EQ(told(ToProto(one)), one);
  EXPECT_TRUE(told(99).none());
}

TEST(Versions, TheHelloOfTodayIsTheOneThatWasRecorded) {
  NothingToSend outbox;
  Recorder link;
  StreamSender sender(&outbox);
  replication::v1::Hello hello;
  hello.set_machine_id("m1");
  hello.set_generation(3);
  hello.add_disk_bytes(kMiB);
  ToProto({4, 2}, hello.mutable_durable());
  hello.set_fence(0x1122334455667788);
  sender.Connect(&link, hello);
  ASSERT_EQ(link.up.size(), 1u);
  EXPECT_EQ(link.up[0].SerializeAsString(), Golden("replication_hello_v1_10.bin"));
}

TEST(Versions, AStreamIsOfTheSessionWithTheFenceThatTheReceiverWasTold) {
  Upstream hello, none;
  ASSERT_TRUE(hello.ParseFromString(Golden("replication_hello_v1_8.bin")));
  ASSERT_TRUE(none.ParseFromString(Golden("replication_hello_v1_4.bin")));
  const StreamTerms terms = {.machine_id = "m1", .disk_bytes = {kMiB}};
  StreamOrder order;
  EXPECT_TRUE(order.Admit(hello.hello(), terms).ok()) << "it was told none";
  EXPECT_TRUE(order.Admit(none.hello(), terms).ok());
  EXPECT_TRUE(absl::IsAborted(order.SetFence(hello.hello().fence())));
  EXPECT_TRUE(order.SetFence(hello.hello().fence()).ok()) << "the same session goes on";
  EXPECT_TRUE(order.Admit(hello.hello(), terms).ok());
  EXPECT_TRUE(absl::IsAborted(order.Admit(none.hello(), terms)));
  EXPECT_TRUE(absl::IsAborted(order.SetFence(hello.hello().fence() + 1)));
  EXPECT_TRUE(absl::IsAborted(order.Admit(hello.hello(), terms)));
}

TEST(Versions, AReplyOfANewerMinorVersionIsTaken) {
  Downstream reply;
  ASSERT_TRUE(reply.ParseFromString(Golden("replication_hello_reply_v1_11.bin")));
  NothingToSend outbox;
  Recorder link;
  StreamSender sender(&outbox);
  sender.Connect(&link, {});
  sender.OnMessage(reply);
  EXPECT_TRUE(sender.streaming());
  EXPECT_EQ(outbox.held, (StreamPosition{4, 2}));
}

TEST(Versions, AnotherMajorVersionIsRefusedInWords) {
  Upstream hello;
  ASSERT_TRUE(hello.ParseFromString(Golden("replication_hello_v1_11.bin")));
  hello.mutable_hello()->set_version_major(2);
  EmptyInbox inbox;
  Recorder link;
  StreamReceiver receiver(&inbox, &link);
  receiver.OnMessage(hello);
  ASSERT_EQ(link.down.size(), 1u);
  EXPECT_NE(link.down[0].refusal().message().find("upgrade the older"), std::string::npos);
  EXPECT_TRUE(link.closed);
}

}  // namespace
}  // namespace homeward
