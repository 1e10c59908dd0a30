// A machine's stream from the real agent's pipeline over gRPC to a process server that keeps it in
// page blobs; and a process server that takes over while the first still believes it has it.
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/replica/replicas.h"
#include "common/replication/target.h"
#include "common/rpc/credentials.h"
#include "common/rpc/replication_link.h"
#include "gtest/gtest.h"
#include "mobility_agent/pipeline/shipper.h"
#include "process_server/azure/page_blob_backend.h"
#include "tests/e2e/memory_source.h"
#include "tests/fakes/azure/model_page_blobs.h"

namespace homeward {
namespace {

constexpr uint64_t kDiskBytes = 24 * kMiB;
constexpr uint64_t kGeneration = 1;
constexpr char kUrl[] = "https://a.blob.core.windows.net/c";
constexpr char kBlob[] = "m1/6000c29a00112233445566778899aabb.vhd";

// A process server, as far as it keeps replicas. Of the container one server speaks at a time.
class Server {
 public:
  Server(const std::string& host, ModelContainer* container, const CertificateAuthority& authority,
         const Clock& clock, const std::string& directory)
      : containers_(ClientsOf(container)),
        replicas_(StreamRuntime{RealFileSystem(), clock, MakeThreadStrand},
                  Replicas::Volumes{
                      .retention_directory = directory + "/" + host,
                      .backends = PageBlobBackends(&containers_, host, clock, MakeThreadStrand)}),
        endpoint_({Role::kAgent}, [this](const std::string& id) { return replicas_.Find(id); }) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        "127.0.0.1:0",
        MakeServerCredentials(MakeIdentity(authority, Role::kProcessServer, clock.Now())), &port_);
    builder.SetMaxReceiveMessageSize(8 << 20);
    builder.RegisterService(&endpoint_);
    server_ = builder.BuildAndStart();
  }
  ~Server() { server_->Shutdown(absl::ToChronoTime(RealClock().Now())); }

  void Want(control::v1::ReplicaPhase phase, const std::string& point = "") {
    google::protobuf::RepeatedPtrField<control::v1::Replica> wanted;
    control::v1::Replica& replica = *wanted.Add();
    replica.set_replica_id("r1");
    replica.set_machine_id("m1");
    replica.set_generation(kGeneration);
    replica.add_disks()->set_size_bytes(kDiskBytes);
    replica.mutable_disks(0)->set_uuid("6000c29a00112233445566778899aabb");
    replica.set_phase(phase);
    replica.set_point_id(point);
    control::v1::Target target;
    target.mutable_page_blobs()->set_container_url(kUrl);
    target.mutable_page_blobs()->add_blobs(kBlob);
    SetTarget(target, &replica);
    replicas_.Want(wanted);
  }
  control::v1::ReplicaObserved Seen() const { return replicas_.observed().at(0); }
  int port() const { return port_; }

 private:
  static Containers::Clients ClientsOf(ModelContainer* container) {
    Containers::Clients clients;
    clients[kUrl] = std::make_unique<ModelPageBlobs>(container);
    return clients;
  }
  Containers containers_;
  Replicas replicas_;
  ReplicationEndpoint endpoint_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

class PageBlobsTest : public ::testing::Test {
 protected:
  PageBlobsTest() : authority_(*CertificateAuthority::Create(clock_.Now())) {
    char pattern[] = "/tmp/homeward-e2e-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    strand_ = MakeThreadStrand("agent");
  }
  ~PageBlobsTest() override {
    client_.reset();
    strand_->Stop();
    shipper_.reset();
    std::filesystem::remove_all(directory_);
  }

  std::unique_ptr<Server> StartServer(const std::string& host) {
    auto server = std::make_unique<Server>(host, &container_, authority_, clock_, directory_);
    server->Want(control::v1::FOLLOW);
    EXPECT_TRUE(Await([&] { return server->Seen().phase() == control::v1::FOLLOW; }))
        << server->Seen().problem().message();
    return server;
  }
  void StartAgent() {
    const std::string state_path = directory_ + "/stream.state";
    const auto stopped_cleanly = TakeCleanStop(RealFileSystem(), state_path);
    ASSERT_TRUE(stopped_cleanly.ok()) << stopped_cleanly.status();
    auto shipper = Shipper::Open(RealFileSystem(), clock_,
                                 {.machine_id = "m1",
                                  .generation = kGeneration,
                                  .state_path = state_path,
                                  .stopped_cleanly = *stopped_cleanly,
                                  .fresh_replica = true,
                                  .points = {.marker_interval = absl::Hours(1)}},
                                 {&source_}, nullptr);
    ASSERT_TRUE(shipper.ok()) << shipper.status();
    shipper_ = *std::move(shipper);
    Tick();
  }
  void StopAgentCleanly() {
    client_.reset();
    strand_->Run([this] { EXPECT_TRUE(shipper_->StopCleanly().ok()); });
    strand_->Stop();
    shipper_.reset();
    strand_ = MakeThreadStrand("agent");
  }
  void Connect(const Server& server) {
    client_.reset();
    client_ = std::make_unique<ReplicationClient>(
        strand_.get(), &shipper_->sender(), [this] { return shipper_->MakeHello(); },
        ReplicationClient::Options{
            .address = absl::StrCat("127.0.0.1:", server.port()),
            .server_role = Role::kProcessServer,
            .identity = [this] { return MakeIdentity(authority_, Role::kAgent, clock_.Now()); },
            .retry_max = absl::Milliseconds(500)});
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
  std::string MakePoint(const Server& server) {
    EXPECT_TRUE(Await([this] { return shipper_->drained(); }));
    const int before = server.Seen().points_size();
    strand_->Post([this] { shipper_->RequestMarker(PointKind::kCrashConsistent); });
    EXPECT_TRUE(Await([&] { return server.Seen().points_size() > before; }));
    const std::string id = server.Seen().points(before).id();
    wanted_[id] = source_.content();
    return id;
  }

  RealClock clock_;
  std::string directory_;
  const CertificateAuthority authority_;
  ModelContainer container_;
  MemorySource source_{kDiskBytes};
  std::map<std::string, std::string> wanted_;  // the machine's disk at each point
  std::unique_ptr<Strand> strand_;
  std::unique_ptr<Shipper> shipper_;
  std::unique_ptr<ReplicationClient> client_;
};

TEST_F(PageBlobsTest, EachPointIsWhatTheMachineWasAlsoThroughAnotherProcessServer) {
  source_.WriteSome(1, 60);
  std::unique_ptr<Server> first = StartServer("h1");
  EXPECT_TRUE(first->Seen().created_fresh());
  StartAgent();
  Connect(*first);
  // The agent makes the first point by itself, when all is synchronised.
  EXPECT_TRUE(Await([&] { return first->Seen().points_size() == 1; }));
  wanted_[first->Seen().points(0).id()] = source_.content();
  source_.WriteSome(2, 40);
  MakePoint(*first);

  // The first one is not told: it would go on.
  source_.WriteSome(3, 40);
  EXPECT_TRUE(Await([this] { return shipper_->drained(); }));
  client_.reset();
  std::unique_ptr<Server> second = StartServer("h2");
  EXPECT_EQ(second->Seen().points_size(), 2);
  Connect(*second);
  source_.WriteSome(4, 40);
  MakePoint(*second);
  client_.reset();

  second->Want(control::v1::RECOVER, wanted_.begin()->first);
  EXPECT_TRUE(Await([&] { return second->Seen().phase() == control::v1::RECOVER; }));
  EXPECT_TRUE(
      absl::StartsWith(second->Seen().disk_paths(0), absl::StrCat(kUrl, "/", kBlob, "?snapshot=")));
  second.reset();
  first.reset();

  ASSERT_EQ(wanted_.size(), 3u);
  const ModelContainer::Blob& blob = container_.blobs.at(kBlob);
  ASSERT_EQ(blob.snapshots.size(), 3u);
  ModelPageBlobs reader(&container_);
  for (const auto& [id, snapshot] : blob.snapshots) {
    const std::string point = snapshot.metadata.at("hw_point");
    const std::string vhd = *reader.Read(kBlob, id, 0, blob.bytes);
    EXPECT_TRUE(vhd.substr(0, kDiskBytes) == wanted_.at(point)) << point;
    // And so it is to others.
    const std::string at = directory_ + "/point";
    std::ofstream(at + ".vhd", std::ios::binary) << vhd;
    std::ofstream(at + ".raw", std::ios::binary) << wanted_.at(point);
    const std::string convert = "qemu-img convert -f vpc -O raw " + at + ".vhd " + at +
                                ".back && cmp " + at + ".back " + at + ".raw";
    EXPECT_EQ(std::system(convert.c_str()), 0) << point;
  }
}

// A failover begins, which shuts the machine down, and is undone: the machine starts again, and its
// agent knows of nothing.
TEST_F(PageBlobsTest, AMachineWhoseFailoverWasUndoneIsReplicatedFurther) {
  source_.WriteSome(1, 60);
  std::unique_ptr<Server> server = StartServer("h1");
  StartAgent();
  Connect(*server);
  EXPECT_TRUE(Await([&] { return server->Seen().points_size() == 1; }));
  const std::string point = server->Seen().points(0).id();
  wanted_[point] = source_.content();
  source_.WriteSome(2, 10);
  EXPECT_TRUE(Await([this] { return shipper_->drained(); }));
  StopAgentCleanly();
  server->Want(control::v1::RECOVER, point);
  EXPECT_TRUE(Await([&] { return server->Seen().phase() == control::v1::RECOVER; }));

  server->Want(control::v1::FOLLOW);
  EXPECT_TRUE(Await([&] { return server->Seen().phase() == control::v1::FOLLOW; }));
  StartAgent();
  Connect(*server);
  source_.WriteSome(3, 10);
  EXPECT_TRUE(Await([&] { return server->Seen().points_size() == 2; }))
      << shipper_->refused().ToString();
  MakePoint(*server);
  client_.reset();
  server.reset();
  ModelPageBlobs reader(&container_);
  const ModelContainer::Blob& blob = container_.blobs.at(kBlob);
  EXPECT_TRUE(*reader.Read(kBlob, "", 0, kDiskBytes) == source_.content());
  for (const auto& [id, snapshot] : blob.snapshots) {
    const auto wanted = wanted_.find(snapshot.metadata.at("hw_point"));
    if (wanted == wanted_.end()) continue;  // The agent's own, behind its comparison.
    EXPECT_TRUE(*reader.Read(kBlob, id, 0, kDiskBytes) == wanted->second) << wanted->first;
  }
}

}  // namespace
}  // namespace homeward
