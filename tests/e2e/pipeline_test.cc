// The data path with real components: threads, files, gRPC over mutual TLS, a VMDK that qemu-img
// reads.
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/replica/replica_stream.h"
#include "common/rpc/credentials.h"
#include "common/rpc/replication_link.h"
#include "common/vmdk/vmdk.h"
#include "gtest/gtest.h"
#include "master_target/keeper/keeper.h"
#include "mobility_agent/pipeline/shipper.h"
#include "process_server/relay/relay.h"

namespace homeward {
namespace {

constexpr uint64_t kDiskBytes = 96 * kMiB;
constexpr uint64_t kGeneration = 1;
constexpr char kUuid[] = "6000c29a00112233445566778899aabb";

constexpr absl::Duration kGreetingTimeout = absl::Milliseconds(700);

// A disk in a file, written by the test through Write(). Thread-safe.
class FileSource : public WriteSource {
 public:
  explicit FileSource(const std::string& path)
      : file_(*RealFileSystem().Open(path, OpenMode::kCreate)) {
    EXPECT_TRUE(file_->Truncate(kDiskBytes).ok());
  }
  void Write(uint64_t offset, const std::string& bytes) {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(file_->Write(offset, AsBytes(bytes)).ok());
    changed_.Add({offset, bytes.size()});
  }
  uint64_t size_bytes() const override { return kDiskBytes; }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    absl::MutexLock lock(&mutex_);
    const size_t count = changed_.TakeInto(changed);
    return Collected{count, !changed_.empty()};
  }
  absl::Status Read(uint64_t offset, MutableBytes out) override {
    absl::MutexLock lock(&mutex_);
    return file_->Read(offset, out);
  }
  // The test writes from the agent's strand or while nothing is taken, so holding still needs
  // nothing.
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration) override { return absl::OkStatus(); }
  void Thaw() override {}

 private:
  absl::Mutex mutex_;
  const std::unique_ptr<File> file_;
  ExtentSet changed_;
};

class PipelineTest : public ::testing::Test {
 protected:
  PipelineTest() {
    char pattern[] = "/tmp/homeward-e2e-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    authority_ =
        std::make_unique<CertificateAuthority>(*CertificateAuthority::Create(clock_.Now()));
    source_ = std::make_unique<FileSource>(directory_ + "/source.raw");
  }
  ~PipelineTest() override {
    StopAgent();
    StopRelay();
    StopKeeper();
    std::filesystem::remove_all(directory_);
  }

  TlsIdentity Identity(Role role, const CertificateAuthority* authority = nullptr,
                       absl::Duration age = absl::ZeroDuration()) {
    if (authority == nullptr) authority = authority_.get();
    TlsIdentity identity;
    identity.ca = authority_->certificate();
    identity.key = *MakePrivateKey();
    identity.certificate =
        *authority->Sign(*MakeSigningRequest(identity.key),
                         {.role = role, .host_id = "host-1", .not_before = clock_.Now() - age});
    return identity;
  }
  std::unique_ptr<grpc::Server> Serve(ReplicationEndpoint* endpoint, Role role, int* port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", *port),
                             MakeServerCredentials(Identity(role)), port);
    builder.SetMaxReceiveMessageSize(8 << 20);
    if (data_channels_) {
      const absl::Status started = endpoint->StartDataChannel(
          {.listen_address = "127.0.0.1:0", .data_channel_address = "", .identity = [this, role] {
             return Identity(role);
           }});
      EXPECT_TRUE(started.ok()) << started;
    }
    builder.RegisterService(endpoint);
    return builder.BuildAndStart();
  }

  void StartKeeper() {
    bool created = false;
    auto disk = OpenOrCreateVmdk(RealFileSystem(),
                                 {.directory = directory_ + "/datastore/vm",
                                  .name = "disk0",
                                  .size_bytes = kDiskBytes,
                                  .uuid = kUuid,
                                  .content_id = 1},
                                 &created);
    ASSERT_TRUE(disk.ok()) << disk.status();
    std::vector<ReplicaDisk> disks;
    disks.push_back({*std::move(disk), kDiskBytes});
    auto keeper = Keeper::Open(RealFileSystem(), directory_ + "/retention/m1", std::move(disks));
    ASSERT_TRUE(keeper.ok()) << keeper.status();
    keeper_ = *std::move(keeper);
    stream_ = std::make_unique<ReplicaStream>(
        keeper_.get(), ReplicaStream::Options{.machine_id = "m1", .disk_bytes = {kDiskBytes}});
    keeper_strand_ = MakeThreadStrand("keeper");
    keeper_endpoint_ = std::make_unique<ReplicationEndpoint>(
        std::vector<Role>{Role::kProcessServer},
        [this](const std::string&) -> absl::StatusOr<HostedInbox> {
          return HostedInbox{keeper_strand_.get(), stream_.get(), nullptr, nullptr, nullptr};
        },
        kGreetingTimeout);
    keeper_server_ = Serve(keeper_endpoint_.get(), Role::kMasterTarget, &keeper_port_);
    ASSERT_NE(keeper_server_, nullptr);
  }
  void StopKeeper() {
    if (keeper_server_ != nullptr) keeper_server_->Shutdown(absl::ToChronoTime(clock_.Now()));
    keeper_server_.reset();
    keeper_endpoint_.reset();
    if (keeper_strand_ != nullptr) keeper_strand_->Stop();
    stream_.reset();
    keeper_.reset();
  }

  void StartRelay() {
    auto relay = Relay::Open(RealFileSystem(), {.machine_id = "m1",
                                                .generation = kGeneration,
                                                .disk_bytes = {kDiskBytes},
                                                .spool = {directory_ + "/spool/m1"}});
    ASSERT_TRUE(relay.ok()) << relay.status();
    relay_ = *std::move(relay);
    relay_strand_ = MakeThreadStrand("relay");
    relay_endpoint_ = std::make_unique<ReplicationEndpoint>(
        std::vector<Role>{Role::kAgent},
        [this](const std::string& id) -> absl::StatusOr<HostedInbox> {
          if (id != "m1") return absl::NotFoundError(id);
          return HostedInbox{relay_strand_.get(), relay_.get(),
                             [this](StreamReceiver* receiver) { relay_->AttachReceiver(receiver); },
                             [this](StreamReceiver* receiver) { relay_->DetachReceiver(receiver); },
                             nullptr};
        });
    relay_server_ = Serve(relay_endpoint_.get(), Role::kProcessServer, &relay_port_);
    ASSERT_NE(relay_server_, nullptr);
    relay_client_ = std::make_unique<ReplicationClient>(
        relay_strand_.get(), &relay_->sender(), [this] { return relay_->MakeHello(); },
        ReplicationClient::Options{.address = absl::StrCat("127.0.0.1:", keeper_port_),
                                   .server_role = Role::kMasterTarget,
                                   .identity = [this] { return Identity(Role::kProcessServer); },
                                   .retry_max = absl::Milliseconds(500)});
  }
  void StopRelay() {
    relay_client_.reset();
    if (relay_server_ != nullptr) relay_server_->Shutdown(absl::ToChronoTime(clock_.Now()));
    relay_server_.reset();
    relay_endpoint_.reset();
    if (relay_strand_ != nullptr) relay_strand_->Stop();
    relay_.reset();
  }

  void StartAgent() {
    agent_strand_ = MakeThreadStrand("agent");
    auto shipper = Shipper::Open(RealFileSystem(), clock_,
                                 {.machine_id = "m1",
                                  .generation = kGeneration,
                                  .state_path = directory_ + "/agent/stream.state",
                                  .fresh_replica = true,
                                  .points = {.marker_interval = absl::Seconds(1)}},
                                 {source_.get()}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    shipper_ = *std::move(shipper);
    Tick();
    agent_client_ = std::make_unique<ReplicationClient>(
        agent_strand_.get(), &shipper_->sender(), [this] { return shipper_->MakeHello(); },
        ReplicationClient::Options{.address = absl::StrCat("127.0.0.1:", relay_port_),
                                   .server_role = Role::kProcessServer,
                                   .data_channel_port = told_port_,
                                   .identity = [this] { return Identity(Role::kAgent); },
                                   .retry_max = absl::Milliseconds(500)});
  }
  void StopAgent() {
    agent_client_.reset();
    if (agent_strand_ != nullptr) agent_strand_->Stop();
    shipper_.reset();
  }
  void Tick() {
    agent_strand_->Post([this] {
      shipper_->Tick();
      agent_strand_->PostAfter(absl::Milliseconds(50), [this] { Tick(); });
    });
  }

  template <typename Result>
  Result On(Strand& strand, const std::function<Result()>& ask) {
    Result result{};
    absl::Notification done;
    strand.Post([&] {
      result = ask();
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  // Looks every 20 ms, on the agent's strand, until it holds.
  bool Await(const std::function<bool()>& holds, absl::Duration limit = absl::Seconds(60)) {
    absl::Notification done;
    const absl::Duration end = clock_.Monotonic() + limit;
    bool held = false;
    std::function<void()> look = [&] {
      held = holds();
      if (held || clock_.Monotonic() > end) return done.Notify();
      agent_strand_->PostAfter(absl::Milliseconds(20), look);
    };
    agent_strand_->Post(look);
    done.WaitForNotification();
    return held;
  }
  std::vector<std::string> PointIds() {
    return On<std::vector<std::string>>(*keeper_strand_, [this] {
      std::vector<std::string> ids;
      for (const auto& point : keeper_->points()) ids.push_back(point.marker.id);
      return ids;
    });
  }
  // Makes a point of what the disk holds now, and keeps a copy of that beside it.
  std::string MakePoint(const std::string& copy) {
    EXPECT_TRUE(Await([this] { return shipper_->drained(); }));
    const size_t before = PointIds().size();
    std::filesystem::copy_file(directory_ + "/source.raw", directory_ + "/" + copy);
    agent_strand_->Post([this] { shipper_->RequestMarker(PointKind::kCrashConsistent); });
    EXPECT_TRUE(
        Await([this, before] { return PointIds().size() > before && shipper_->drained(); }));
    return PointIds().back();
  }
  void WriteRandom(uint64_t seed, uint64_t offset, uint64_t bytes) {
    std::mt19937_64 random(seed);
    std::string content(bytes, '\0');
    for (size_t i = 0; i + 8 <= content.size(); i += 8) {
      const uint64_t value = random();
      std::memcpy(&content[i], &value, 8);
    }
    source_->Write(offset, content);
  }
  void ExpectVmdkEquals(const std::string& raw) {
    const std::string command = "qemu-img compare -f vmdk -F raw " + directory_ +
                                "/datastore/vm/disk0.vmdk " + directory_ + "/" + raw;
    EXPECT_EQ(std::system(command.c_str()), 0) << raw;
  }

  bool data_channels_ = false;  // offered by process server and master target
  uint32_t told_port_ = 0;      // to the agent
  RealClock clock_;
  std::string directory_;
  std::unique_ptr<CertificateAuthority> authority_;
  std::unique_ptr<FileSource> source_;
  int keeper_port_ = 0, relay_port_ = 0;
  std::unique_ptr<Keeper> keeper_;
  std::unique_ptr<ReplicaStream> stream_;
  std::unique_ptr<Strand> keeper_strand_;
  std::unique_ptr<ReplicationEndpoint> keeper_endpoint_;
  std::unique_ptr<grpc::Server> keeper_server_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Strand> relay_strand_;
  std::unique_ptr<ReplicationEndpoint> relay_endpoint_;
  std::unique_ptr<grpc::Server> relay_server_;
  std::unique_ptr<ReplicationClient> relay_client_;
  std::unique_ptr<Shipper> shipper_;
  std::unique_ptr<Strand> agent_strand_;
  std::unique_ptr<ReplicationClient> agent_client_;
};

// Over gRPC, and over data channels.
class EitherWay : public PipelineTest, public ::testing::WithParamInterface<bool> {
 protected:
  EitherWay() { data_channels_ = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(DataChannels, EitherWay, ::testing::Bool(), [](const auto& channels) {
  return channels.param ? "DataChannel" : "Grpc";
});

TEST_P(EitherWay, ADiskComesHomeAtAnOlderPointAndAtTheLatest) {
  WriteRandom(1, 0, 64 * kMiB);
  const absl::Duration started = clock_.Monotonic();
  StartKeeper();
  StartRelay();
  StartAgent();
  ASSERT_TRUE(Await([this] { return shipper_->drained(); }));
  std::printf("first synchronisation, two TLS hops: %.0f MiB/s\n",
              64 / absl::ToDoubleSeconds(clock_.Monotonic() - started));
  const std::string older = MakePoint("older.raw");
  for (int i = 0; i < 50; ++i) WriteRandom(100 + i, (i * 7919 % 23000) * 4096, 4096);
  const std::string latest = MakePoint("latest.raw");

  StopAgent();
  EXPECT_TRUE(On<absl::Status>(*keeper_strand_, [&] { return keeper_->RecoverTo(older); }).ok());
  ExpectVmdkEquals("older.raw");
  EXPECT_TRUE(On<absl::Status>(*keeper_strand_, [&] { return keeper_->RecoverTo(latest); }).ok());
  ExpectVmdkEquals("latest.raw");
  ExpectVmdkEquals("source.raw");
  EXPECT_EQ(
      std::system(("qemu-img info " + directory_ + "/datastore/vm/disk0.vmdk >/dev/null").c_str()),
      0);
}

TEST_P(EitherWay, LosingAProcessServerWithItsDiskLosesNoData) {
  WriteRandom(1, 0, 48 * kMiB);
  StartKeeper();
  StartRelay();
  StartAgent();
  ASSERT_TRUE(
      Await([this] { return !shipper_->durable().none() && shipper_->durable().sequence > 3; }));
  StopRelay();
  std::filesystem::remove_all(directory_ + "/spool");
  WriteRandom(2, 8 * kMiB, 4 * kMiB);
  StartRelay();
  MakePoint("copy.raw");
  ExpectVmdkEquals("copy.raw");
}

TEST_P(EitherWay, AMasterTargetThatRestartsGoesOnWhereItWas) {
  WriteRandom(1, 0, 32 * kMiB);
  StartKeeper();
  StartRelay();
  StartAgent();
  MakePoint("first.raw");
  const std::vector<std::string> before = PointIds();
  const uint64_t epoch =
      On<StreamPosition>(*keeper_strand_, [&] { return keeper_->position(); }).epoch;
  StopKeeper();
  WriteRandom(2, 3 * kMiB, kMiB);
  StartKeeper();
  EXPECT_EQ(PointIds(), before);
  MakePoint("second.raw");
  ExpectVmdkEquals("second.raw");
  EXPECT_EQ(On<StreamPosition>(*keeper_strand_, [&] { return keeper_->position(); }).epoch, epoch);
}

TEST_F(PipelineTest, AStreamWhoseDataChannelIsGoneGoesOnOverGrpcAndBack) {
  WriteRandom(1, 0, 16 * kMiB);
  data_channels_ = true;
  StartKeeper();
  StartRelay();
  StartAgent();
  MakePoint("first.raw");
  for (const bool channels : {false, true}) {
    StopRelay();
    data_channels_ = channels;
    WriteRandom(2 + channels, 3 * kMiB, kMiB);
    StartRelay();
    MakePoint(channels ? "third.raw" : "second.raw");
  }
  ExpectVmdkEquals("third.raw");
}

TEST_F(PipelineTest, AnAgentThatWasToldOfTheDataChannelNeedNotAsk) {
  WriteRandom(1, 0, 16 * kMiB);
  data_channels_ = true;
  StartKeeper();
  StartRelay();
  told_port_ = relay_endpoint_->data_channel_port();
  relay_server_->Shutdown(absl::ToChronoTime(clock_.Now()));  // Nobody answers who asks.
  StartAgent();
  MakePoint("told.raw");
  ExpectVmdkEquals("told.raw");
}

TEST_F(PipelineTest, AnAgentThatWasToldOfAnotherPortAsks) {
  WriteRandom(1, 0, 16 * kMiB);
  data_channels_ = true;
  StartKeeper();
  StartRelay();
  told_port_ = keeper_endpoint_->data_channel_port();  // Of somebody who is no process server.
  StartAgent();
  MakePoint("asked.raw");
  ExpectVmdkEquals("asked.raw");
}

class WhoMayCall : public PipelineTest {
 protected:
  grpc::Status Call(const TlsIdentity& identity, Role server_role) {
    auto stub = replication::v1::ReplicationService::NewStub(
        MakeChannel(absl::StrCat("127.0.0.1:", relay_port_), server_role, identity));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(clock_.Now() + absl::Seconds(10)));
    auto stream = stub->Replicate(&context);
    replication::v1::Upstream hello;
    hello.mutable_hello()->set_machine_id("m1");
    stream->Write(hello);
    stream->WritesDone();
    replication::v1::Downstream message;
    while (stream->Read(&message)) last_ = message;
    return stream->Finish();
  }
  replication::v1::Downstream last_;
};

TEST_F(WhoMayCall, IsDecidedByTheCertificate) {
  StartKeeper();
  StartRelay();
  EXPECT_TRUE(Call(Identity(Role::kAgent), Role::kProcessServer).ok());
  EXPECT_TRUE(last_.has_refusal()) << "an old protocol version is refused in words";
  const grpc::Status wrong_role = Call(Identity(Role::kMasterTarget), Role::kProcessServer);
  EXPECT_EQ(wrong_role.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_NE(wrong_role.error_message().find("master-target"), std::string::npos)
      << wrong_role.error_message();
  EXPECT_EQ(Call(Identity(Role::kAgent), Role::kMasterTarget).error_code(),
            grpc::StatusCode::UNAVAILABLE)
      << "the server is no master target";
  const CertificateAuthority foreign = *CertificateAuthority::Create(clock_.Now());
  EXPECT_EQ(Call(Identity(Role::kAgent, &foreign), Role::kProcessServer).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call(Identity(Role::kAgent, nullptr, absl::Hours(24 * 31)), Role::kProcessServer)
                .error_code(),
            grpc::StatusCode::UNAVAILABLE)
      << "the certificate has expired";
}

TEST_F(WhoMayCall, ACallThatSaysNothingIsEndedAndCounted) {
  StartKeeper();
  auto stub = replication::v1::ReplicationService::NewStub(
      MakeChannel(absl::StrCat("127.0.0.1:", keeper_port_), Role::kMasterTarget,
                  Identity(Role::kProcessServer)));
  grpc::ClientContext context;
  auto stream = stub->Replicate(&context);
  replication::v1::Downstream message;
  EXPECT_FALSE(stream->Read(&message)) << "it ends without a word of ours";
  EXPECT_FALSE(stream->Finish().ok());
  keeper_server_->Shutdown(absl::ToChronoTime(clock_.Now()));  // The call counts before it is over.
  EXPECT_EQ(keeper_endpoint_->refused_count(), 1u);
}

}  // namespace
}  // namespace homeward
