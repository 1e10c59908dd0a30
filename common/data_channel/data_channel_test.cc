// The data channel with real sockets and certificates: what it carries, who may call, and what a
// hostile peer gets.
#include <functional>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/data_channel/data_channel_call.h"
#include "common/exec/strand.h"
#include "common/wire/change_batch.h"
#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using replication::v1::Downstream;

// Takes everything.
class OpenInbox : public Inbox {
 public:
  absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello&) override {
    return StreamPosition();
  }
  absl::Status Store(std::vector<SealedBatch> batches) override {
    absl::MutexLock lock(&mutex_);
    for (SealedBatch& batch : batches) stored_.push_back(std::move(batch));
    return absl::OkStatus();
  }
  uint64_t AvailableBytes() override { return kMiB; }
  StreamPosition spooled() const override { return {}; }
  StreamPosition durable() const override { return {}; }
  void OnDigestQuery(const replication::v1::DigestQuery&, StreamReceiver&) override {}

  std::vector<SealedBatch> AwaitStored(size_t count) {
    absl::MutexLock lock(&mutex_);
    awaited_ = count;
    EXPECT_TRUE(
        mutex_.AwaitWithTimeout(absl::Condition(this, &OpenInbox::HasStored), absl::Seconds(20)));
    return stored_;
  }

 private:
  bool HasStored() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stored_.size() >= awaited_;
  }
  absl::Mutex mutex_;
  std::vector<SealedBatch> stored_ ABSL_GUARDED_BY(mutex_);
  size_t awaited_ ABSL_GUARDED_BY(mutex_) = 0;
};

class DataChannelTest : public ::testing::Test {
 protected:
  DataChannelTest() : authority_(*CertificateAuthority::Create(clock_.Now())) {}

  TlsIdentity Identity(Role role, const CertificateAuthority& authority,
                       absl::Duration age = absl::ZeroDuration()) {
    TlsIdentity identity;
    identity.ca = authority_.certificate();
    identity.key = *MakePrivateKey();
    identity.certificate =
        *authority.Sign(*MakeSigningRequest(identity.key),
                        {.role = role, .host_id = "host-1", .not_before = clock_.Now() - age});
    return identity;
  }
  TlsIdentity Agent() { return Identity(Role::kAgent, authority_); }

  void Start(size_t calls_max = 100) {
    auto server = DataChannelServer::Start(
        {.address = "127.0.0.1:0",
         .callers = {Role::kAgent},
         .identity = [this] { return Identity(Role::kProcessServer, authority_); },
         .calls_max = calls_max,
         .greeting_timeout = absl::Milliseconds(400)},
        [this](const std::string& machine_id) -> absl::StatusOr<HostedInbox> {
          if (machine_id != "m1") return absl::NotFoundError(machine_id);
          return HostedInbox{strand_.get(), &inbox_, nullptr, nullptr, nullptr};
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", server_->port()); }

  // A call that was greeted, or null.
  std::unique_ptr<SenderCall> Greeted() {
    auto call = DialDataChannel(Agent(), address(), Role::kProcessServer);
    if (!call.ok()) return nullptr;
    UpstreamMessage hello;
    hello.message.mutable_hello()->set_version_major(kReplicationVersionMajor);
    hello.message.mutable_hello()->set_machine_id("m1");
    Downstream reply;
    const bool greeted = (*call)->Write(hello) && (*call)->Read(&reply) && reply.has_hello_reply();
    return greeted ? *std::move(call) : nullptr;
  }
  std::unique_ptr<TlsSocket> Raw() {
    auto socket = TlsSocket::Connect(Agent(), {.address = address(),
                                               .protocol = kDataChannelProtocol,
                                               .server_role = Role::kProcessServer});
    EXPECT_TRUE(socket.ok()) << socket.status();
    return *std::move(socket);
  }
  // Whether the other side ends the connection.
  static bool Ends(TlsSocket& socket) {
    std::string byte(1, '\0');
    socket.SetReadTimeout(absl::Seconds(20));
    const absl::Status read = socket.Read(Writable(&byte));
    return !read.ok() && read.message() != "nothing was received in time";
  }
  static std::string FrameHeader(uint32_t bytes, uint16_t kind, uint32_t head_bytes) {
    std::string header;
    FieldWriter writer(&header);
    writer.U32(bytes);
    writer.U16(kind);
    writer.U16(0);
    writer.U32(head_bytes);
    writer.U32(0);
    return header;
  }
  static SealedBatch Batch(uint64_t sequence, size_t bytes) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {0, bytes});
    for (size_t i = 0; i < bytes; ++i) place[i] = static_cast<uint8_t>(i / 512 + sequence);
    return builder.Seal({BatchKind::kWrites, {1, sequence}, 1});
  }

  const RealClock clock_;
  const CertificateAuthority authority_;
  OpenInbox inbox_;
  std::unique_ptr<Strand> strand_ = MakeThreadStrand("inbox");
  std::unique_ptr<DataChannelServer> server_;
};

TEST_F(DataChannelTest, BatchesArriveAsTheyWereSealedAndWhereDisksCanTakeThem) {
  Start();
  const std::unique_ptr<SenderCall> call = Greeted();
  ASSERT_NE(call, nullptr);
  std::vector<SealedBatch> sent;
  for (uint64_t i = 1; i <= 20; ++i) {
    sent.push_back(Batch(i, i % 3 == 0 ? 512 : 600 * kKiB));
    ASSERT_TRUE(call->Write({{}, sent.back()}));
    // As the credit grows.
    Downstream acknowledgement;
    ASSERT_TRUE(call->Read(&acknowledgement));
  }
  const std::vector<SealedBatch> stored = inbox_.AwaitStored(sent.size());
  ASSERT_EQ(stored.size(), sent.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(stored[i], sent[i]) << i;
    ParsedBatch batch;
    ASSERT_TRUE(ParseBatch(stored[i].view(), true, &batch).ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(batch.payload.data()) % AlignedBuffer::kAlignment, 0u);
  }
}

TEST_F(DataChannelTest, AGreetingAsRecordedIsAnsweredWithAFrame) {
  Start();
  const std::unique_ptr<TlsSocket> peer = Raw();
  const std::string greeting = testing::ReadGolden("data_channel_v1.bin");
  ASSERT_TRUE(peer->Write(AsBytes(greeting)).ok());
  std::string header(16, '\0'), body;
  ASSERT_TRUE(peer->Read(Writable(&header)).ok());
  FieldReader reader(header);
  body.resize(reader.U32());
  EXPECT_EQ(header, FrameHeader(static_cast<uint32_t>(body.size()), 1, 0));
  ASSERT_TRUE(peer->Read(Writable(&body)).ok());
  Downstream reply;
  ASSERT_TRUE(reply.ParseFromString(body));
  EXPECT_TRUE(reply.has_hello_reply()) << reply.ShortDebugString();
}

TEST_F(DataChannelTest, WhoMayCallIsDecidedByTheCertificate) {
  Start();
  const CertificateAuthority foreign = *CertificateAuthority::Create(clock_.Now());
  const auto carries = [&](const TlsIdentity& identity, Role server_role) {
    auto socket = TlsSocket::Connect(
        identity,
        {.address = address(), .protocol = kDataChannelProtocol, .server_role = server_role});
    // In TLS 1.3 a client is refused after it has done its part.
    return socket.ok() && !Ends(**socket);
  };
  EXPECT_FALSE(carries(Identity(Role::kMasterTarget, authority_), Role::kProcessServer));
  EXPECT_FALSE(carries(Identity(Role::kAgent, foreign), Role::kProcessServer));
  EXPECT_FALSE(
      carries(Identity(Role::kAgent, authority_, absl::Hours(24 * 31)), Role::kProcessServer))
      << "it has expired";
  EXPECT_FALSE(DialDataChannel(Agent(), address(), Role::kMasterTarget).ok())
      << "the server is no master target";
  EXPECT_NE(Greeted(), nullptr);
}

TEST_F(DataChannelTest, GarbageEndsItsCallAndNoOther) {
  Start();
  const std::unique_ptr<SenderCall> honest = Greeted();
  ASSERT_NE(honest, nullptr);
  const std::vector<std::string> garbage = {
      std::string(64, '\xff'),
      FrameHeader(0xfffffff0, 2, 80),                          // an absurd length
      FrameHeader(100, 2, 200),                                // a head longer than its batch
      FrameHeader(100, 9, 0),                                  // a kind that is none
      FrameHeader(4, 1, 0) + std::string("\xff\xff\xff\xff"),  // not a message
      FrameHeader(0, 1, 0),                                    // no hello
      FrameHeader(64, 2, 64) + std::string(64, 'x'),           // a batch before the hello
  };
  for (const std::string& bytes : garbage) {
    const std::unique_ptr<TlsSocket> peer = Raw();
    ASSERT_TRUE(peer->Write(AsBytes(bytes)).ok());
    EXPECT_TRUE(Ends(*peer)) << bytes;
  }
  ASSERT_TRUE(honest->Write({{}, Batch(1, 4096)}));
  inbox_.AwaitStored(1);
}

TEST_F(DataChannelTest, ASenderThatIgnoresItsCreditIsRefused) {
  Start();
  const std::unique_ptr<SenderCall> call = Greeted();
  ASSERT_NE(call, nullptr);
  // The strand stands still, so nothing is stored and no credit is given.
  absl::Notification go_on, enough;
  strand_->Post([&] { go_on.WaitForNotification(); });
  std::thread sender([&] {
    bool written = true;
    for (uint64_t sequence = 1; written && sequence < 200; ++sequence) {
      written = call->Write({{}, Batch(sequence, kMiB)});
      if (sequence == 20) enough.Notify();
    }
  });
  // What the kernel's buffers do not hold has been read by now.
  enough.WaitForNotification();
  go_on.Notify();
  Downstream last;
  bool refused = false;
  while (!refused && call->Read(&last)) refused = last.has_refusal();
  call->Cancel();
  sender.join();
  EXPECT_TRUE(refused);
}

TEST_F(DataChannelTest, CallsThatStallMakeRoomForOthers) {
  Start(/*calls_max=*/4);
  std::vector<std::unique_ptr<TlsSocket>> silent;
  for (int i = 0; i < 4; ++i) silent.push_back(Raw());
  for (const auto& peer : silent) EXPECT_TRUE(Ends(*peer)) << "no hello came";
  std::unique_ptr<SenderCall> call;
  for (int attempt = 0; attempt < 50 && call == nullptr; ++attempt) call = Greeted();
  EXPECT_NE(call, nullptr);
}

TEST_F(DataChannelTest, AStopEndsItsCalls) {
  Start();
  const std::unique_ptr<SenderCall> call = Greeted();
  ASSERT_NE(call, nullptr);
  server_.reset();
  Downstream message;
  while (call->Read(&message)) {
  }
}

}  // namespace
}  // namespace homeward
