// The data channel with real sockets and certificates: what it carries, who may call, and what a
// hostile peer gets.
#include <atomic>
#include <climits>
#include <functional>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/data_channel/data_channel_call.h"
#include "common/exec/strand.h"
#include "common/replication/queued_writer.h"
#include "common/wire/change_batch.h"
#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using replication::v1::Downstream;

const std::vector<std::string> kBothProtocols = {kDataChannelBesideProtocol, kDataChannelProtocol};

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
  bool takes_unchecked() const override { return takes_unchecked_; }
  void SetTakesUnchecked(bool takes) { takes_unchecked_ = takes; }
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
  std::atomic<bool> takes_unchecked_{true};
};

class DataChannelTest : public ::testing::Test {
 protected:
  DataChannelTest() : authority_(*CertificateAuthority::Create(clock_.Now())) {
    ::signal(SIGPIPE, SIG_IGN);  // as daemons do
  }

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

  void Start(size_t calls_max = 100, std::vector<std::string> protocols = kBothProtocols) {
    auto server = DataChannelServer::Start(
        {.address = "127.0.0.1:0",
         .callers = {Role::kAgent},
         .identity = [this] { return Identity(Role::kProcessServer, authority_); },
         .protocols = std::move(protocols),
         .calls_max = calls_max,
         .greeting_timeout = absl::Milliseconds(400),
         .beside_time = beside_time_,
         .silence_max = silence_max_,
         .on_refused =
             [this] {
               absl::MutexLock lock(&mutex_);
               ++refused_;
             }},
        [this](const std::string& machine_id) -> absl::StatusOr<HostedInbox> {
          if (machine_id != "m1") return absl::NotFoundError(machine_id);
          return HostedInbox{.strand = strand_.get(), .inbox = &inbox_, .passes_on = passes_on_};
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", server_->port()); }

  static replication::v1::Upstream Hello(uint32_t minor = 0) {
    replication::v1::Upstream message;
    message.mutable_hello()->set_version_major(kReplicationVersionMajor);
    message.mutable_hello()->set_version_minor(minor);
    message.mutable_hello()->set_machine_id("m1");
    return message;
  }
  // A call that was greeted, or null.
  std::unique_ptr<SenderCall> Greeted(BesideTrials* beside = nullptr, uint32_t minor = 0,
                                      absl::Duration silence_max = kSilenceMax) {
    auto call = DialDataChannel(Agent(), {address(), Role::kProcessServer, beside, silence_max});
    if (!call.ok()) return nullptr;
    Downstream reply;
    const bool greeted =
        (*call)->Write({Hello(minor), {}}) && (*call)->Read(&reply) && reply.has_hello_reply();
    return greeted ? *std::move(call) : nullptr;
  }
  std::unique_ptr<TlsSocket> Raw(const std::string& protocol = kDataChannelProtocol) {
    auto socket = TlsSocket::Connect(
        Agent(),
        {.address = address(), .protocols = {protocol}, .server_role = Role::kProcessServer});
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
  static SealedBatch Batch(uint64_t sequence, size_t bytes, PayloadEncryptor* encryptor = nullptr) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {0, bytes});
    for (size_t i = 0; i < bytes; ++i) place[i] = static_cast<uint8_t>(i / 512 + sequence);
    return builder.Seal({BatchKind::kWrites, {1, sequence}, 1}, encryptor);
  }

  const RealClock clock_;
  const CertificateAuthority authority_;
  OpenInbox inbox_;
  absl::Duration beside_time_ = absl::Seconds(60);
  absl::Duration silence_max_ = kSilenceMax;
  bool passes_on_ = false;
  absl::Mutex mutex_;
  int refused_ ABSL_GUARDED_BY(mutex_) = 0;
  PayloadEncryptor encryptor_{{1, std::string(kDataKeyBytes, 'k')}};
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
        {.address = address(), .protocols = {kDataChannelProtocol}, .server_role = server_role});
    // In TLS 1.3 a client is refused after it has done its part.
    return socket.ok() && !Ends(**socket);
  };
  EXPECT_FALSE(carries(Identity(Role::kMasterTarget, authority_), Role::kProcessServer));
  EXPECT_FALSE(carries(Identity(Role::kAgent, foreign), Role::kProcessServer));
  EXPECT_FALSE(
      carries(Identity(Role::kAgent, authority_, absl::Hours(24 * 31)), Role::kProcessServer))
      << "it has expired";
  EXPECT_FALSE(DialDataChannel(Agent(), {address(), Role::kMasterTarget}).ok())
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
      FrameHeader(80, 3, 80) + std::string(80, 'x'),           // nothing of it goes beside
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

// Reads until the call is over. How often nothing was said.
int ReadToTheEnd(SenderCall& call, int quiet_max = INT_MAX) {
  Downstream message;
  int quiet = 0;
  while (quiet < quiet_max && call.Read(&message))
    quiet += message.message_case() == Downstream::MESSAGE_NOT_SET ? 1 : 0;
  return quiet;
}

TEST_F(DataChannelTest, ACallOnWhichNothingHappensGoesOn) {
  silence_max_ = absl::Seconds(2);
  Start();
  const std::unique_ptr<SenderCall> call =
      Greeted(nullptr, kReplicationVersionMinor, absl::Seconds(2));
  ASSERT_NE(call, nullptr);
  QueuedWriter<UpstreamMessage, SenderCall> writer(
      call.get(), [] {}, call->quiet_max());
  writer.Write({});
  EXPECT_EQ(ReadToTheEnd(*call, 6), 6) << "for three seconds";
  writer.Write({{}, Batch(1, 4096)});
  inbox_.AwaitStored(1);
}

TEST_F(DataChannelTest, ASenderThatIsSilentIsTakenForDead) {
  silence_max_ = absl::Milliseconds(400);
  Start();
  const std::unique_ptr<SenderCall> call = Greeted(nullptr, kReplicationVersionMinor);
  ASSERT_NE(call, nullptr);
  EXPECT_GT(ReadToTheEnd(*call), 0) << "the receiver shows that it is there";
  const std::unique_ptr<SenderCall> older = Greeted(nullptr, kShowsLifeSinceMinor - 1);
  ASSERT_NE(older, nullptr);
  EXPECT_EQ(ReadToTheEnd(*older, 8), 8) << "one that is older may be";
}

TEST_F(DataChannelTest, AReceiverThatIsSilentIsTakenForDead) {
  silence_max_ = absl::InfiniteDuration();
  Start();
  const std::unique_ptr<SenderCall> call =
      Greeted(nullptr, kReplicationVersionMinor, absl::Milliseconds(400));
  ASSERT_NE(call, nullptr);
  EXPECT_EQ(ReadToTheEnd(*call), 0);
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

// Sends as a sender does; a test meddles with what goes beside.
class BesideTest : public DataChannelTest {
 protected:
  // What a test does to the bytes of the second batch, of three.
  using Meddle = std::function<std::string(std::string)>;
  class MeddlingSocket : public Socket {
   public:
    MeddlingSocket(std::unique_ptr<Socket> socket, Meddle meddle)
        : socket_(std::move(socket)), meddle_(std::move(meddle)) {}
    absl::Status Read(MutableBytes out) override { return socket_->Read(out); }
    absl::Status Write(ConstBytes bytes) override {
      std::string text(AsText(bytes));
      if (++written_ == 2) text = meddle_(std::move(text));
      return socket_->Write(AsBytes(text));
    }
    void Shutdown() override { socket_->Shutdown(); }
    void SetReadTimeout(absl::Duration timeout) override { socket_->SetReadTimeout(timeout); }

   private:
    const std::unique_ptr<Socket> socket_;
    const Meddle meddle_;
    int written_ = 0;
  };

  void SendThree(const Meddle& meddle) {
    Start();
    OpenChannel();
    auto connected = ConnectBeside(peer_.get(), address(), absl::Seconds(5));
    ASSERT_TRUE(connected.ok()) << connected.status();
    beside_ = std::make_unique<MeddlingSocket>(*std::move(connected), meddle);
    bool written = true;
    for (uint64_t i = 1; i <= 3; ++i) {
      sent_.push_back(Batch(i, 100 * kKiB, &encryptor_));
      written = written && channel_->WriteBeside(sent_.back(), beside_.get()).ok();
    }
  }
  // A data channel that was greeted.
  void OpenChannel() {
    peer_ = Raw(kDataChannelBesideProtocol);
    channel_ = std::make_unique<DataChannel>(peer_.get());
    DataChannel::Frame reply;
    ASSERT_TRUE(channel_->Write(Hello().SerializeAsString()).ok());
    ASSERT_TRUE(channel_->Read(&reply).ok());
  }
  // As the credit grows.
  bool SendBeside(const SealedBatch& batch, Socket* beside) {
    DataChannel::Frame acknowledgement;
    return channel_->WriteBeside(batch, beside).ok() && channel_->Read(&acknowledgement).ok();
  }
  bool ChannelEnds() {
    peer_->SetReadTimeout(absl::Seconds(20));
    DataChannel::Frame frame;
    absl::Status read;
    while (read.ok()) read = channel_->Read(&frame);
    return read.message() != "nothing was received in time";
  }

  std::unique_ptr<TlsSocket> peer_;
  std::unique_ptr<DataChannel> channel_;
  std::unique_ptr<Socket> beside_;
  std::vector<SealedBatch> sent_;
};

TEST_F(BesideTest, WhatIsEncryptedGoesThereAndNothingElseDoes) {
  Start();
  BesideTrials trials;
  const std::unique_ptr<SenderCall> call = Greeted(&trials);
  ASSERT_NE(call, nullptr);
  std::vector<SealedBatch> sent;
  const auto send = [&](SealedBatch batch) {
    sent.push_back(std::move(batch));
    Downstream acknowledgement;
    return call->Write({{}, sent.back()}) && call->Read(&acknowledgement);
  };
  ASSERT_TRUE(send(Batch(1, 600 * kKiB)));
  ASSERT_TRUE(send(Batch(2, 512, &encryptor_)));
  EXPECT_EQ(server_->beside_count(), 0u);
  for (uint64_t i = 3; i <= 12; ++i)
    ASSERT_TRUE(send(Batch(i, i % 3 == 0 ? kMiB : 40 * kKiB, i % 4 == 0 ? nullptr : &encryptor_)));
  EXPECT_EQ(server_->beside_count(), 1u);
  const std::vector<SealedBatch> stored = inbox_.AwaitStored(sent.size());
  ASSERT_EQ(stored.size(), sent.size());
  for (size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(stored[i], sent[i]) << i;
    ParsedBatch batch;
    ASSERT_TRUE(ParseBatch(stored[i].view(), false, &batch).ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(batch.payload.data()) % AlignedBuffer::kAlignment, 0u);
  }
}

TEST_F(BesideTest, WhatNobodyMeddlesWithArrivesAndNobodyVouchesForIt) {
  SendThree([](std::string bytes) { return bytes; });
  const std::vector<SealedBatch> stored = inbox_.AwaitStored(3);
  EXPECT_EQ(stored, sent_);
  for (const SealedBatch& batch : stored) EXPECT_FALSE(batch.checked());
}

TEST_F(BesideTest, WhatIsMeddledWithComesAsUncheckedAsTheRest) {
  SendThree([](std::string bytes) {
    bytes.back() ^= 1;
    return bytes;
  });
  const std::vector<SealedBatch> stored = inbox_.AwaitStored(3);
  EXPECT_FALSE(stored[1] == sent_[1]);
  EXPECT_FALSE(stored[1].checked());
  ParsedBatch batch;
  EXPECT_TRUE(absl::IsDataLoss(ParseBatch(stored[1].view(), false, &batch)));
  EXPECT_EQ(stored[2], sent_[2]) << "nothing else is touched by it";
}

TEST_F(BesideTest, WhatIsPassedOnIsHeldUntilSomebodyLooksAtIt) {
  passes_on_ = true;
  Start();
  OpenChannel();
  auto connected = ConnectBeside(peer_.get(), address(), absl::Seconds(5));
  ASSERT_TRUE(connected.ok()) << connected.status();
  const SealedBatch sent = Batch(1, kMiB, &encryptor_), small = Batch(2, 20 * kKiB, &encryptor_);
  ASSERT_TRUE(SendBeside(sent, connected->get()));
  ASSERT_TRUE(SendBeside(small, connected->get()));
  const std::vector<SealedBatch> first = inbox_.AwaitStored(2);
  EXPECT_EQ(first[1].held(), nullptr);
  EXPECT_EQ(first[1], small);
  if (first[0].held() == nullptr)
    GTEST_SKIP() << "needs a pipe of 1 MiB, which this user may not have";
  EXPECT_EQ(first[0].head(), sent.view().substr(0, first[0].head().size()));
  // Again and again, and also when somebody has looked at it.
  for (const bool seen : {false, false, true, true}) {
    if (seen) {
      EXPECT_EQ(first[0], sent);
    }
    ASSERT_TRUE(SendBeside(first[0], connected->get()));
  }
  EXPECT_FALSE(*(*connected)->WriteHeld(*first[0].held())) << "its pipes are free for others";
  ASSERT_TRUE(channel_->Write(first[0]).ok());
  const std::vector<SealedBatch> stored = inbox_.AwaitStored(7);
  for (size_t i = 2; i < stored.size(); ++i) EXPECT_EQ(stored[i], sent) << i;
}

TEST_F(BesideTest, WhatIsPassedOnIsTheSameInHoweverManyPiecesItComes) {
  // Writes as somebody does whose packets are small.
  class InPieces : public Socket {
   public:
    InPieces(Socket* socket, size_t bytes) : socket_(*socket), bytes_(bytes) {}
    absl::Status Read(MutableBytes out) override { return socket_.Read(out); }
    absl::Status Write(ConstBytes bytes) override {
      absl::Status written;
      for (size_t at = 0; at < bytes.size() && written.ok(); at += bytes_)
        written = socket_.Write(bytes.subspan(at, bytes_));
      return written;
    }
    void Shutdown() override { socket_.Shutdown(); }
    void SetReadTimeout(absl::Duration timeout) override { socket_.SetReadTimeout(timeout); }

   private:
    Socket& socket_;
    const size_t bytes_;
  };
  passes_on_ = true;
  Start();
  OpenChannel();
  auto connected = ConnectBeside(peer_.get(), address(), absl::Seconds(5));
  ASSERT_TRUE(connected.ok()) << connected.status();
  const std::vector<size_t> pieces = {100, 700, 1448, 4096, 5000, 65536};
  for (size_t i = 0; i < pieces.size(); ++i) {
    sent_.push_back(Batch(i + 1, kMiB, &encryptor_));
    InPieces socket(connected->get(), pieces[i]);
    ASSERT_TRUE(SendBeside(sent_.back(), &socket));
  }
  EXPECT_EQ(inbox_.AwaitStored(pieces.size()), sent_);
}

TEST_F(BesideTest, WhatIsMissingIsWaitedForUntilTheConnectionEnds) {
  SendThree([](std::string bytes) { return bytes.substr(1); });
  inbox_.AwaitStored(2);
  beside_->Shutdown();
  EXPECT_TRUE(ChannelEnds());
  EXPECT_EQ(inbox_.AwaitStored(2).size(), 2u);
}

TEST_F(BesideTest, WhatTakesAllAndDeliversNothingEndsTheStream) {
  class Swallowing : public Socket {
   public:
    absl::Status Read(MutableBytes) override { return absl::UnavailableError("nothing"); }
    absl::Status Write(ConstBytes) override { return absl::OkStatus(); }
    void Shutdown() override {}
    void SetReadTimeout(absl::Duration) override {}
  };
  beside_time_ = absl::Milliseconds(20);
  for (const bool passes_on : {false, true}) {
    passes_on_ = passes_on;
    Start();
    OpenChannel();
    auto connected = ConnectBeside(peer_.get(), address(), absl::Seconds(5));
    ASSERT_TRUE(connected.ok()) << connected.status();
    Swallowing nowhere;
    ASSERT_TRUE(channel_->WriteBeside(Batch(1, kMiB, &encryptor_), &nowhere).ok());
    EXPECT_TRUE(ChannelEnds()) << passes_on;
  }
}

TEST_F(BesideTest, WhatIsNotEncryptedIsRefusedThere) {
  Start();
  OpenChannel();
  auto connected = ConnectBeside(peer_.get(), address(), absl::Seconds(5));
  ASSERT_TRUE(connected.ok()) << connected.status();
  ASSERT_TRUE(channel_->WriteBeside(Batch(1, 100 * kKiB), connected->get()).ok());
  EXPECT_TRUE(ChannelEnds());
}

TEST_F(BesideTest, NothingGoesThereWhenTheReceiverDoesNotSaySo) {
  inbox_.SetTakesUnchecked(false);
  Start();
  BesideTrials trials;
  const std::unique_ptr<SenderCall> call = Greeted(&trials);
  ASSERT_NE(call, nullptr);
  Downstream acknowledgement;
  for (uint64_t i = 1; i <= 3; ++i) {
    // The second is acknowledged with a yes.
    if (i == 2) inbox_.SetTakesUnchecked(true);
    ASSERT_TRUE(call->Write({{}, Batch(i, 100 * kKiB, &encryptor_)}));
    ASSERT_TRUE(call->Read(&acknowledgement));
    EXPECT_EQ(server_->beside_count(), i < 3 ? 0u : 1u);
  }
  EXPECT_TRUE(inbox_.AwaitStored(3)[1].checked());
  EXPECT_FALSE(inbox_.AwaitStored(3)[2].checked());
}

TEST_F(BesideTest, ItBelongsToOneDataChannelAndComesOnce) {
  Start();
  OpenChannel();
  EXPECT_TRUE(ConnectBeside(peer_.get(), address(), absl::Seconds(5)).ok());
  EXPECT_FALSE(ConnectBeside(peer_.get(), address(), absl::Seconds(5)).ok());
  const std::unique_ptr<TlsSocket> older = Raw();
  EXPECT_FALSE(ConnectBeside(older.get(), address(), absl::Seconds(5)).ok());
  for (const std::string& text : {std::string("GET / HTTP/1.0\r\n\r\n"),
                                  absl::StrCat(kBesideGreeting, std::string(32, 'x'))}) {
    auto stranger = ConnectWithoutTls(address(), absl::Seconds(5));
    ASSERT_TRUE(stranger.ok() && (*stranger)->Write(AsBytes(text)).ok());
    std::string byte(1, '\0');
    EXPECT_FALSE((*stranger)->Read(Writable(&byte)).ok()) << text;
  }
  const auto all_refused = [this] {
    mutex_.AssertReaderHeld();
    return refused_ >= 4;
  };
  {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&all_refused), absl::Seconds(20)));
  }
  EXPECT_EQ(server_->beside_count(), 1u);
}

TEST_F(BesideTest, WhereItNeverComesTheCallEnds) {
  Start();
  OpenChannel();
  class Nowhere : public Socket {
    absl::Status Read(MutableBytes) override { return absl::OkStatus(); }
    absl::Status Write(ConstBytes) override { return absl::OkStatus(); }
    void Shutdown() override {}
    void SetReadTimeout(absl::Duration) override {}
  } nowhere;
  ASSERT_TRUE(channel_->WriteBeside(Batch(1, 100 * kKiB, &encryptor_), &nowhere).ok());
  EXPECT_TRUE(ChannelEnds());
}

TEST_F(BesideTest, AnOlderServerAndAnOlderSenderDoWithout) {
  const auto carries = [&](BesideTrials* trials) {
    const std::unique_ptr<SenderCall> call = Greeted(trials);
    return call != nullptr && call->Write({{}, Batch(1, 100 * kKiB, &encryptor_)});
  };
  Start();
  EXPECT_TRUE(carries(nullptr));
  inbox_.AwaitStored(1);
  EXPECT_EQ(server_->beside_count(), 0u);
  server_.reset();
  Start(100, {kDataChannelProtocol});
  BesideTrials trials;
  EXPECT_TRUE(carries(&trials));
  inbox_.AwaitStored(2);
  EXPECT_TRUE(trials.Due()) << "nothing was tried";
}

TEST_F(BesideTest, WhereNobodyAnswersTheDataChannelCarriesAll) {
  Start();
  // Takes connections and says nothing.
  auto silent = TlsListener::Listen({.address = "127.0.0.1:0", .protocols = {}, .callers = {}});
  ASSERT_TRUE(silent.ok());
  const std::unique_ptr<TlsSocket> peer = Raw(kDataChannelBesideProtocol);
  EXPECT_FALSE(ConnectBeside(peer.get(), absl::StrCat("127.0.0.1:", (*silent)->port()),
                             absl::Milliseconds(50))
                   .ok());
  BesideTrials trials;
  trials.Failed();
  EXPECT_FALSE(trials.Due());
  const std::unique_ptr<SenderCall> call = Greeted(&trials);
  ASSERT_NE(call, nullptr);
  EXPECT_TRUE(call->Write({{}, Batch(1, 100 * kKiB, &encryptor_)}));
  inbox_.AwaitStored(1);
  EXPECT_EQ(server_->beside_count(), 0u);
}

}  // namespace
}  // namespace homeward
