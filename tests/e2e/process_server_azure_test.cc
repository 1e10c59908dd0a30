// The process server, whole, with replicas in a simulated storage account: what it is told, what it
// says, and what arrives there; also through a restart.
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/azure/blob_container.h"
#include "common/clock/clock.h"
#include "common/config/config.h"
#include "common/replication/target.h"
#include "common/rpc/credentials.h"
#include "common/rpc/replication_link.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "homeward/control/v1/control.grpc.pb.h"
#include "mobility_agent/pipeline/shipper.h"
#include "process_server/host/process_server.h"
#include "tests/e2e/memory_source.h"
#include "tests/fakes/fake_azure_storage.h"

namespace homeward {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint64_t kDiskBytes = 24 * kMiB;
constexpr uint64_t kGeneration = 1;
constexpr char kHostId[] = "00000000000000000000000000000abc";
constexpr char kBlob[] = "m1/6000c29a00112233445566778899aabb.vhd";

// What the process server knows of its configuration server: tells it what is desired, and hears.
class Brain : public control::v1::ControlService::Service {
 public:
  grpc::Status Connect(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<control::v1::Down, control::v1::Up>* stream) override {
    control::v1::Up up;
    if (!stream->Read(&up) || !up.has_registration()) return grpc::Status::CANCELLED;
    {
      absl::MutexLock lock(&mutex_);
      control::v1::Down down;
      down.mutable_registered()->mutable_heartbeat_interval()->set_seconds(1);
      stream->Write(down);
      stream_ = stream;
      Tell();
    }
    while (stream->Read(&up)) {
      absl::MutexLock lock(&mutex_);
      heard_ = up.heartbeat();
    }
    absl::MutexLock lock(&mutex_);
    stream_ = nullptr;
    heard_.Clear();
    return grpc::Status::OK;
  }
  void Want(const std::vector<control::v1::Replica>& replicas) {
    absl::MutexLock lock(&mutex_);
    wanted_.mutable_replicas()->Assign(replicas.begin(), replicas.end());
    if (stream_ != nullptr) Tell();
  }
  // Empty while nobody is connected.
  control::v1::Heartbeat heard() const {
    absl::MutexLock lock(&mutex_);
    return heard_;
  }

 private:
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    control::v1::Down down;
    down.mutable_desired()->set_revision(++revision_);
    *down.mutable_desired()->mutable_process_server() = wanted_;
    stream_->Write(down);
  }

  mutable absl::Mutex mutex_;
  grpc::ServerReaderWriter<control::v1::Down, control::v1::Up>* stream_ ABSL_GUARDED_BY(mutex_) =
      nullptr;
  control::v1::ProcessServerDesired wanted_ ABSL_GUARDED_BY(mutex_);
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  control::v1::Heartbeat heard_ ABSL_GUARDED_BY(mutex_);
};

class ProcessServerAzureTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = "/tmp/homeward-azure-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    storage_directory_ = pattern;
    auto started = FakeAzureStorage::Start(storage_directory_);
    ASSERT_TRUE(started.ok()) << started.status();
    storage_ = started->release();
  }
  static void TearDownTestSuite() {
    delete storage_;
    std::filesystem::remove_all(storage_directory_);
  }

  ProcessServerAzureTest() : authority_(*CertificateAuthority::Create(clock_.Now())) {
    char pattern[] = "/tmp/homeward-e2e-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    strand_ = MakeThreadStrand("agent");
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        "127.0.0.1:0",
        MakeServerCredentials(MakeIdentity(authority_, Role::kConfigServer, clock_.Now())),
        &brain_port_);
    builder.RegisterService(&brain_);
    brain_server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", FreePort());
    const TlsIdentity own = MakeIdentity(authority_, Role::kProcessServer, clock_.Now(), kHostId);
    std::filesystem::create_directories(directory_ + "/state/identity");
    Put("state/identity/host_id", kHostId);
    Put("state/identity/ca.pem", own.ca);
    Put("state/identity/key.pem", own.key);
    Put("state/identity/certificate.pem", own.certificate);
    Put("azure.pem", storage_->Options().trusted);
    Put("azure.key", storage_->key());
  }
  ~ProcessServerAzureTest() override {
    client_.reset();
    strand_->Stop();
    shipper_.reset();
    daemon_.reset();
    brain_server_->Shutdown(absl::ToChronoTime(clock_.Now()));
    std::filesystem::remove_all(directory_);
  }

  void Put(const std::string& name, const std::string& content) {
    std::ofstream(directory_ + "/" + name, std::ios::binary) << content;
  }
  static int FreePort() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    ReplicationEndpoint nobody({}, nullptr);
    builder.RegisterService(&nobody);
    builder.BuildAndStart()->Shutdown();
    return port;
  }
  static std::string Url() { return storage_->Options().url; }
  std::string Storage(const std::string& url, const std::string& key_file) const {
    return absl::StrCat("storage { container_url: \"", url, "\" key_file: \"", directory_, "/",
                        key_file, "\" trusted_certificates_file: \"", directory_,
                        "/azure.pem\" }\n");
  }
  void StartServer(const std::string& storage) {
    config::v1::ProcessServerConfig config;
    const absl::Status parsed = ParseConfig(
        "process-server.conf",
        absl::StrCat("join { config_server: \"127.0.0.1:", brain_port_, "\" name: \"ps\" }\n",
                     "listen_address: \"", address_, "\"\n", "state_directory: \"", directory_,
                     "/state\"\n", "azure {\n", storage, "}\n"),
        CheckProcessServerConfig, &config);
    ASSERT_TRUE(parsed.ok()) << parsed;
    auto started = StartProcessServer(config, {RealFileSystem(), clock_, stopping_});
    ASSERT_TRUE(started.ok()) << started.status();
    daemon_ = *std::move(started);
  }

  void Want(control::v1::ReplicaPhase phase, const std::string& point = "") {
    control::v1::Replica replica;
    replica.set_replica_id("r1");
    replica.set_machine_id("m1");
    replica.set_generation(kGeneration);
    replica.add_disks()->set_size_bytes(kDiskBytes);
    replica.mutable_disks(0)->set_uuid("6000c29a00112233445566778899aabb");
    replica.set_phase(phase);
    replica.set_point_id(point);
    control::v1::Target target;
    target.mutable_page_blobs()->set_container_url(Url());
    target.mutable_page_blobs()->add_blobs(kBlob);
    SetTarget(target, &replica);
    brain_.Want({replica});
  }
  // Of the replica; nothing while the process server says nothing of it.
  control::v1::ReplicaObserved Seen() const {
    const control::v1::ProcessServerObserved seen = brain_.heard().process_server();
    return seen.replicas().empty() ? control::v1::ReplicaObserved() : seen.replicas(0);
  }
  std::vector<std::string> Reachable() const {
    const control::v1::ProcessServerObserved seen = brain_.heard().process_server();
    return {seen.page_blob_containers().begin(), seen.page_blob_containers().end()};
  }
  std::vector<std::string> Issues() const {
    const control::v1::Heartbeat heard = brain_.heard();
    std::vector<std::string> issues;
    for (const types::v1::HealthIssue& issue : heard.issues())
      issues.push_back(absl::StrCat(issue.problem().id(), ": ", issue.problem().message()));
    return issues;
  }

  // `remembers`: it goes on from what it kept. Otherwise it knows nothing of the replica.
  void StartAgent(bool fresh_replica, const std::string& state) {
    auto shipper = Shipper::Open(RealFileSystem(), clock_,
                                 {.machine_id = "m1",
                                  .generation = kGeneration,
                                  .state_path = directory_ + "/" + state,
                                  .fresh_replica = fresh_replica,
                                  .points = {.marker_interval = absl::Hours(1)}},
                                 {&source_}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    shipper_ = *std::move(shipper);
    Tick();
    client_ = std::make_unique<ReplicationClient>(
        strand_.get(), &shipper_->sender(), [this] { return shipper_->MakeHello(); },
        ReplicationClient::Options{
            .address = address_,
            .server_role = Role::kProcessServer,
            .identity = [this] { return MakeIdentity(authority_, Role::kAgent, clock_.Now()); },
            .retry_max = absl::Milliseconds(500)});
  }
  void StopAgent() {
    client_.reset();
    strand_->Stop();
    shipper_.reset();
    strand_ = MakeThreadStrand("agent");
  }
  void Tick() {
    strand_->Post([this] {
      shipper_->Tick();
      strand_->PostAfter(absl::Milliseconds(50), [this] { Tick(); });
    });
  }
  // Looks every 20 ms, on the agent's strand, until it holds.
  bool Await(const std::function<bool()>& holds) {
    absl::Notification done;
    const absl::Duration end = clock_.Monotonic() + absl::Seconds(60);
    bool held = false;
    std::function<void()> look = [&] {
      held = holds();
      if (held || clock_.Monotonic() > end) return done.Notify();
      strand_->PostAfter(absl::Milliseconds(20), look);
    };
    strand_->Post(look);
    done.WaitForNotification();
    return held;
  }
  void AwaitPhase(control::v1::ReplicaPhase phase) {
    EXPECT_TRUE(Await([&] { return Seen().phase() == phase; })) << Seen().ShortDebugString();
  }
  void MakePoint() {
    EXPECT_TRUE(Await([this] { return shipper_->drained(); }));
    const int before = Seen().points_size();
    strand_->Post([this] { shipper_->RequestMarker(PointKind::kCrashConsistent); });
    EXPECT_TRUE(Await([&] { return Seen().points_size() > before; }));
    wanted_[Seen().points(before).id()] = source_.content();
  }
  void AwaitFirstPoint() {
    EXPECT_TRUE(Await([this] { return Seen().points_size() > 0; }));
    wanted_[Seen().points(Seen().points_size() - 1).id()] = source_.content();
  }

  static FakeAzureStorage* storage_;
  static std::string storage_directory_;
  RealClock clock_;
  std::string directory_;
  const CertificateAuthority authority_;
  absl::Notification stopping_;
  Brain brain_;
  int brain_port_ = 0;
  std::unique_ptr<grpc::Server> brain_server_;
  std::string address_;
  std::unique_ptr<Daemon> daemon_;
  MemorySource source_{kDiskBytes};
  std::map<std::string, std::string> wanted_;  // the machine's disk at each point
  std::unique_ptr<Strand> strand_;
  std::unique_ptr<Shipper> shipper_;
  std::unique_ptr<ReplicationClient> client_;
};
FakeAzureStorage* ProcessServerAzureTest::storage_ = nullptr;
std::string ProcessServerAzureTest::storage_directory_;

TEST_F(ProcessServerAzureTest, WhatIsWrittenArrivesAndEachPointIsASnapshotAlsoThroughARestart) {
  StartServer(Storage(Url(), "azure.key"));
  EXPECT_TRUE(Await([this] { return !Reachable().empty(); }));
  EXPECT_THAT(Reachable(), ElementsAre(Url()));
  Want(control::v1::FOLLOW);
  AwaitPhase(control::v1::FOLLOW);
  EXPECT_TRUE(Seen().created_fresh());
  EXPECT_THAT(Seen().disk_paths(), ElementsAre(absl::StrCat(Url(), "/", kBlob)));
  source_.WriteSome(1, 60);
  StartAgent(/*fresh_replica=*/true, "stream.state");
  AwaitFirstPoint();
  source_.WriteSome(2, 40);
  MakePoint();
  const control::v1::ReplicaObserved before = Seen();
  Metrics metrics;
  daemon_->Measure(&metrics);
  EXPECT_THAT(metrics.Render(), HasSubstr("homeward_container_reached"));
  EXPECT_THAT(metrics.Render(), HasSubstr("homeward_replica_points{machine=\"m1\"} 2"));

  // The machine goes on writing while it is away.
  source_.WriteSome(3, 40);
  daemon_.reset();
  EXPECT_TRUE(Await([this] { return brain_.heard().ByteSizeLong() == 0; }));
  source_.WriteSome(4, 40);
  StartServer(Storage(Url(), "azure.key"));
  AwaitPhase(control::v1::FOLLOW);
  EXPECT_EQ(Seen().points_size(), 2);
  EXPECT_GE(Seen().position().epoch(), before.position().epoch());
  EXPECT_FALSE(Seen().syncing());
  MakePoint();

  // One that knows nothing any more compares: what is the same does not travel.
  StopAgent();
  source_.WriteSome(5, 3);
  const uint64_t received = Seen().received_bytes();
  StartAgent(/*fresh_replica=*/false, "other.state");
  EXPECT_TRUE(Await([this] { return Seen().points_size() == 4; }));
  wanted_[Seen().points(3).id()] = source_.content();
  EXPECT_LT(Seen().received_bytes() - received, 2 * kMiB);
  StopAgent();

  Want(control::v1::RECOVER, wanted_.begin()->first);
  AwaitPhase(control::v1::RECOVER);
  EXPECT_THAT(Seen().disk_paths(0), HasSubstr(absl::StrCat(kBlob, "?snapshot=")));
  // The host itself may be busy.
  EXPECT_THAT(Issues(), Each(AnyOf(StartsWith("PROCESSOR_HIGH"), StartsWith("MEMORY_HIGH"))));
  daemon_.reset();

  auto reader = azure::BlobContainer::Open(storage_->Options(), clock_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto listed = (*reader)->List("m1/");
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(wanted_.size(), 4u);
  ASSERT_EQ(listed->size(), 5u);
  for (const azure::BlobProperties& one : *listed) {
    const auto content = (*reader)->Read(one.name, one.snapshot, 0, kDiskBytes);
    ASSERT_TRUE(content.ok()) << content.status();
    const std::string& is = one.snapshot.empty() ? "" : one.metadata.at("hw_point");
    const std::string wanted = is.empty() ? source_.content() : wanted_.at(is);
    EXPECT_TRUE(*content == wanted) << (is.empty() ? "the blob" : is);
  }
}

TEST_F(ProcessServerAzureTest, AKeyThatIsNotTakenAndAnAccountThatIsNotReachedAreSaid) {
  Put("wrong.key", std::string(86, 'A') + "==");
  const std::string nowhere = absl::StrCat("https://127.0.0.1:", FreePort(), "/homeward/replicas");
  StartServer(Storage(Url(), "wrong.key") + Storage(nowhere, "azure.key"));
  Want(control::v1::FOLLOW);
  const std::string refused = absl::StrCat("STORAGE_ACCESS_REFUSED: container ", Url());
  const std::string not_reached = absl::StrCat("CONTAINER_NOT_REACHABLE: container ", nowhere);
  const auto says = [this](const std::string& text) {
    return ::testing::Matches(Contains(HasSubstr(text)))(Issues());
  };
  EXPECT_TRUE(Await([&] { return says(refused) && says(not_reached); }))
      << ::testing::PrintToString(Issues());
  EXPECT_THAT(Reachable(), ElementsAre());
  EXPECT_TRUE(Await([&] { return Seen().problem().id() == "STORAGE_ACCESS_REFUSED"; }))
      << Seen().ShortDebugString();
  EXPECT_FALSE(daemon_->Health().empty());
  // While it tries, it ends soon when it is told to.
  const absl::Duration begun = clock_.Monotonic();
  daemon_.reset();
  EXPECT_LT(clock_.Monotonic() - begun, absl::Seconds(8));
}

}  // namespace
}  // namespace homeward
