// A replica in page blobs, hosted as the process server does it: phases, problems, observed state.
#include "process_server/azure/page_blob_backend.h"

#include "absl/strings/match.h"
#include "common/replica/replicas.h"
#include "common/replication/stream_call.h"
#include "common/replication/target.h"
#include "gtest/gtest.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

constexpr char kUrl[] = "https://a.blob.core.windows.net/c";
constexpr char kBlobUrl[] = "https://a.blob.core.windows.net/c/m1/d1.vhd";

struct TestClock : Clock {
  absl::Time Now() const override { return absl::UnixEpoch() + now; }
  absl::Duration Monotonic() const override { return now; }
  absl::Duration now = absl::Seconds(100);
};
// Runs everything at once; what is posted for later runs when the test says so.
struct OwnThread : Strand {
  explicit OwnThread(std::function<void()>* later) : later_(*later) {}
  void Post(std::function<void()> callback) override { callback(); }
  void PostAfter(absl::Duration, std::function<void()> callback) override { later_ = callback; }
  void Run(const std::function<void()>& callback) override { callback(); }
  void Stop() override {}
  std::function<void()>& later_;
};
struct Call : ReceiverCall {
  bool Read(UpstreamMessage* message) override {
    if (batches.empty()) return false;
    *message = {{}, batches.front()};
    batches.erase(batches.begin());
    return true;
  }
  bool Write(const replication::v1::Downstream& message) override {
    if (message.has_hello_reply()) greeted = message.hello_reply();
    last = message;
    return true;
  }
  void Cancel() override {}
  std::vector<SealedBatch> batches;
  replication::v1::HelloReply greeted;
  replication::v1::Downstream last;
};

// A process server with one client of the container.
class Server {
 public:
  Server(const std::string& host, ModelContainer* container)
      : containers_(Clients(container)),
        replicas_(StreamRuntime{disk_, clock_,
                                [this](const std::string&) {
                                  return std::make_unique<OwnThread>(&later_);
                                }},
                  Replicas::Volumes{.retention_directory = "/replicas",
                                    .backends = PageBlobBackends(&containers_, host, clock_, {})}) {
  }

  control::v1::ReplicaObserved Want(control::v1::ReplicaPhase phase, const std::string& point = "",
                                    const std::string& url = kUrl) {
    control::v1::ProcessServerDesired desired;
    control::v1::Replica& replica = *desired.add_replicas();
    replica.set_replica_id("r1");
    replica.set_machine_id("m1");
    replica.set_generation(2);
    replica.add_disks()->set_size_bytes(kMiB);
    replica.mutable_disks(0)->set_uuid("00000000000000000000000000000001");
    replica.set_phase(phase);
    replica.set_point_id(point);
    control::v1::Target target;
    target.mutable_page_blobs()->set_container_url(url);
    target.mutable_page_blobs()->add_blobs("m1/d1.vhd");
    SetTarget(target, &replica);
    replica.MergeFrom(also);
    replicas_.Want(desired.replicas());
    return replicas_.observed().at(0);
  }
  void WantNothing() { replicas_.Want({}); }
  control::v1::ReplicaObserved Tick(absl::Duration passed) {
    clock_.now += passed;
    const std::function<void()> due = later_;  // It asks to be called again.
    due();
    return replicas_.observed().at(0);
  }
  replication::v1::Downstream Stream(std::vector<SealedBatch> batches) {
    UpstreamMessage first;
    first.message.mutable_hello()->set_version_major(kReplicationVersionMajor);
    first.message.mutable_hello()->set_machine_id("m1");
    first.message.mutable_hello()->set_generation(std::max<uint64_t>(2, also.generation()));
    first.message.mutable_hello()->add_disk_bytes(kMiB);
    Call call;
    call.batches = std::move(batches);
    RunReceiver(*replicas_.Find("m1"), std::move(first), &call, 0);
    greeted_ = call.greeted;
    return call.last;
  }
  // As the last call was told.
  bool takes_unchecked() const { return greeted_.acknowledgement().takes_unchecked(); }
  Containers& containers() { return containers_; }
  ModelPageBlobs& client() { return *client_; }
  control::v1::Replica also;  // what is wanted beside the usual

 private:
  Containers::Clients Clients(ModelContainer* container) {
    auto client = std::make_unique<ModelPageBlobs>(container);
    client_ = client.get();
    Containers::Clients clients;
    clients[kUrl] = std::move(client);
    return clients;
  }

  ModelPageBlobs* client_ = nullptr;
  replication::v1::HelloReply greeted_;
  MemoryDisk disk_{1};
  TestClock clock_;
  std::function<void()> later_;
  Containers containers_;
  Replicas replicas_;
};

SealedBatch Writes(uint64_t sequence, char content) {
  BatchBuilder builder;
  const MutableBytes place = builder.AddData(0, {64 * kKiB, 4096});
  std::fill(place.begin(), place.end(), static_cast<uint8_t>(content));
  return builder.Seal({BatchKind::kWrites, {1, sequence}, 2});
}
SealedBatch Point(uint64_t sequence, const std::string& id) {
  return SealMarker({BatchKind::kMarker, {1, sequence}, 2},
                    {.time = absl::UnixEpoch() + absl::Seconds(99), .id = id});
}
std::vector<SealedBatch> StreamWithTwoPoints() {
  return {SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 2}, {.fresh_replica = true}),
          Writes(1, 'a'),
          BatchBuilder().Seal({BatchKind::kSyncEnd, {1, 2}, 2}),
          Point(3, "p1"),
          Writes(4, 'b'),
          Point(5, "p2")};
}

class PageBlobBackendTest : public ::testing::Test {
 protected:
  std::string At(const std::string& url) {
    const std::string snapshot = url.substr(url.find("?snapshot=") + 10);
    return ModelPageBlobs(&container_).Read("m1/d1.vhd", snapshot, 64 * kKiB, 1).value_or("gone");
  }
  ModelContainer container_;
};

TEST_F(PageBlobBackendTest, FollowsRecoversToAnyPointAndReleases) {
  Server server("h1", &container_);
  EXPECT_TRUE(server.Want(control::v1::FOLLOW).created_fresh());
  EXPECT_EQ(server.Stream(StreamWithTwoPoints()).acknowledgement().durable().sequence(), 5u);
  control::v1::ReplicaObserved seen = server.Want(control::v1::FOLLOW);
  ASSERT_EQ(seen.points_size(), 2);
  ASSERT_EQ(seen.disk_paths_size(), 1);
  EXPECT_EQ(seen.disk_paths(0), kBlobUrl);
  EXPECT_GT(seen.journal_bytes(), 0u);

  // Any point, one after the other: nothing is copied, and the process server's files do not
  // matter.
  for (const auto& [point, content] : {std::pair("p1", "a"), std::pair("p2", "b")}) {
    seen = server.Want(control::v1::RECOVER, point);
    ASSERT_EQ(seen.phase(), control::v1::RECOVER) << seen.problem().message();
    EXPECT_EQ(seen.point_id(), point);
    ASSERT_EQ(seen.disk_paths_size(), 1);
    EXPECT_TRUE(absl::StartsWith(seen.disk_paths(0), absl::StrCat(kBlobUrl, "?snapshot=")));
    EXPECT_EQ(At(seen.disk_paths(0)), content);
  }
  Server replacement("h2", &container_);
  seen = replacement.Want(control::v1::RECOVER, "p1");
  ASSERT_EQ(seen.phase(), control::v1::RECOVER) << seen.problem().message();
  EXPECT_EQ(At(seen.disk_paths(0)), "a");
  EXPECT_EQ(replacement.Want(control::v1::RECOVER, "p9").problem().id(), "POINT_NOT_FOUND");

  seen = replacement.Want(control::v1::RELEASE);
  EXPECT_EQ(seen.phase(), control::v1::RELEASE) << seen.problem().message();
  EXPECT_EQ(seen.disk_paths(0), kBlobUrl);
  ASSERT_EQ(container_.blobs.size(), 1u);
  const ModelContainer::Blob& blob = container_.blobs.begin()->second;
  EXPECT_TRUE(blob.snapshots.empty());
  EXPECT_EQ(blob.lease_id, "");
  EXPECT_EQ(replacement.Want(control::v1::DELETE).phase(), control::v1::DELETE);
  EXPECT_TRUE(container_.blobs.empty());
}

// A machine that encrypts, and whose content comes beside TLS.
class UncheckedTest : public PageBlobBackendTest {
 protected:
  UncheckedTest() {
    types::v1::DataKey* const key = server_.also.add_data_keys();
    key->set_id(1);
    key->set_secret(std::string(kDataKeyBytes, 'k'));
    server_.also.set_refuses_plain(true);
    server_.Want(control::v1::FOLLOW);
    server_.Stream({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 2}, {.fresh_replica = true},
                                   &encryptor_)});
  }
  SealedBatch Encrypted(uint64_t sequence, char content) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {64 * kKiB, 4096});
    std::fill(place.begin(), place.end(), static_cast<uint8_t>(content));
    return builder.Seal({BatchKind::kSyncChunk, {1, sequence}, 2}, &encryptor_);
  }
  static SealedBatch Unchecked(SealedBatch batch) {
    batch.SetUnchecked();
    return batch;
  }
  static SealedBatch Changed(const SealedBatch& batch) {
    std::string bytes(batch.view());
    bytes.back() ^= 1;
    return SealedBatch(std::move(bytes));
  }
  static absl::StatusCode Told(const replication::v1::Downstream& message) {
    return static_cast<absl::StatusCode>(message.refusal().code());
  }
  std::string Content() {
    return ModelPageBlobs(&container_).Read("m1/d1.vhd", "", 64 * kKiB, 1).value_or("gone");
  }

  PayloadEncryptor encryptor_{{1, std::string(kDataKeyBytes, 'k')}};
  Server server_{"h1", &container_};
};

TEST_F(UncheckedTest, ItIsTakenOnceItIsOpened) {
  EXPECT_TRUE(server_.takes_unchecked());
  EXPECT_FALSE(server_.Stream({Unchecked(Encrypted(1, 'a'))}).has_refusal());
  EXPECT_EQ(Content(), "a");
}

TEST_F(UncheckedTest, WhatWasChangedIsSentAgainAndForAWhileNothingIsTakenSo) {
  const SealedBatch second = Encrypted(2, 'b');
  const replication::v1::Downstream told =
      server_.Stream({Unchecked(Encrypted(1, 'a')), Unchecked(Changed(second))});
  EXPECT_EQ(Told(told), absl::StatusCode::kUnavailable) << told.refusal().message();
  EXPECT_TRUE(absl::StrContains(told.refusal().message(), "1.2 is not as its machine sealed it"))
      << told.refusal().message();
  server_.Stream({second});
  EXPECT_FALSE(server_.takes_unchecked());
  EXPECT_EQ(Content(), "b") << "the replica was not opened anew, nor the stream begun anew";

  server_.Tick(absl::Seconds(29));
  server_.Stream({});
  EXPECT_FALSE(server_.takes_unchecked());
  server_.Tick(absl::Seconds(1));
  server_.Stream({});
  EXPECT_TRUE(server_.takes_unchecked());
  EXPECT_EQ(Told(server_.Stream({Unchecked(Changed(Encrypted(3, 'c')))})),
            absl::StatusCode::kUnavailable);
  server_.Tick(absl::Seconds(59));
  server_.Stream({});
  EXPECT_FALSE(server_.takes_unchecked()) << "longer each time";
  server_.Tick(absl::Seconds(1));
  server_.Stream({});
  EXPECT_TRUE(server_.takes_unchecked());
}

TEST_F(UncheckedTest, WhatDoesNotOpenAlthoughItCameOverTlsIsNotAskedForAgain) {
  const replication::v1::Downstream told = server_.Stream({Changed(Encrypted(1, 'a'))});
  EXPECT_EQ(Told(told), absl::StatusCode::kDataLoss) << told.refusal().message();
  server_.Stream({});
  EXPECT_TRUE(server_.takes_unchecked());
}

TEST_F(PageBlobBackendTest, WhatAnotherReplicaHasTakenIsNotRemoved) {
  Server server("h1", &container_);
  server.Want(control::v1::FOLLOW);
  server.WantNothing();
  EXPECT_EQ(container_.blobs.begin()->second.lease_id, "") << "nobody has to break it";
  container_.blobs["m1/d1.vhd"].metadata["hw_replica"] = "r2";
  EXPECT_EQ(server.Want(control::v1::DELETE).phase(), control::v1::DELETE);
  EXPECT_EQ(container_.blobs.size(), 1u);
}

TEST_F(PageBlobBackendTest, AServerThatLostItsLeaseStopsAndSaysSo) {
  Server first("h1", &container_), second("h2", &container_);
  first.Want(control::v1::FOLLOW);
  std::vector<SealedBatch> batches = StreamWithTwoPoints();
  first.Stream({batches.begin(), batches.begin() + 4});
  EXPECT_EQ(second.Want(control::v1::FOLLOW).phase(), control::v1::FOLLOW);
  const uint64_t changes = container_.changes;
  EXPECT_NE(first.Stream({batches[4]}).acknowledgement().durable().sequence(), 4u);
  control::v1::ReplicaObserved seen = first.Tick(absl::Milliseconds(200));
  EXPECT_EQ(seen.phase(), control::v1::REPLICA_PHASE_UNSPECIFIED);
  EXPECT_EQ(seen.problem().id(), "REPLICA_LOST_LEASE") << seen.problem().message();
  EXPECT_EQ(container_.changes, changes);
  const std::string lease_id = container_.blobs.begin()->second.lease_id;
  for (int i = 0; i < 100; ++i) {
    second.Tick(absl::Seconds(10));  // It lives, and has nothing to write.
    seen = first.Tick(absl::Seconds(10));
  }
  EXPECT_EQ(seen.problem().id(), "REPLICA_LOST_LEASE");
  EXPECT_EQ(container_.blobs.begin()->second.lease_id, lease_id);
  EXPECT_EQ(second.Stream({batches[4], batches[5]}).acknowledgement().durable().sequence(), 5u);
  // The other one is told to leave it.
  second.WantNothing();
  seen = first.Tick(absl::Minutes(2));
  EXPECT_EQ(seen.phase(), control::v1::FOLLOW) << seen.problem().message();
  EXPECT_EQ(seen.position().sequence(), 5u);
}

// A new generation says that the replica is this server's, whoever had it before.
TEST_F(PageBlobBackendTest, ANewGenerationIsFollowedAtOnceWhateverFailedBefore) {
  for (const bool noticed : {true, false}) {
    SCOPED_TRACE(noticed ? "it knew that it had lost the replica" : "it did not");
    container_ = ModelContainer();
    Server first("h1", &container_), second("h2", &container_);
    first.Want(control::v1::FOLLOW);
    std::vector<SealedBatch> batches = StreamWithTwoPoints();
    first.Stream({batches.begin(), batches.begin() + 4});
    EXPECT_EQ(second.Want(control::v1::FOLLOW).phase(), control::v1::FOLLOW);
    if (noticed) {
      first.Stream({batches[4]});
      for (int i = 0; i < 20; ++i) first.Tick(absl::Seconds(3));
      EXPECT_EQ(first.Tick(absl::Seconds(1)).problem().id(), "REPLICA_LOST_LEASE");
    }
    first.also.set_generation(3);
    const control::v1::ReplicaObserved seen = first.Want(control::v1::FOLLOW);
    EXPECT_EQ(seen.phase(), control::v1::FOLLOW) << seen.problem().message();
    EXPECT_EQ(seen.generation(), 3u);
    EXPECT_EQ(seen.position().sequence(), 3u);
    EXPECT_EQ(first.Stream({}).hello_reply().held().sequence(), 3u);
    EXPECT_EQ(container_.blobs.begin()->second.metadata.at("hw_generation"), "3");
  }
}

TEST_F(PageBlobBackendTest, OneThatLostItsLeaseDoesNotTakeItBackForAnythingElseThatIsWanted) {
  Server first("h1", &container_), second("h2", &container_);
  first.Want(control::v1::FOLLOW);
  std::vector<SealedBatch> batches = StreamWithTwoPoints();
  first.Stream({batches.begin(), batches.begin() + 4});
  EXPECT_EQ(second.Want(control::v1::FOLLOW).phase(), control::v1::FOLLOW);
  first.also.set_shown_point_id("p1");
  first.Want(control::v1::FOLLOW);
  for (int i = 0; i < 30; ++i) {
    first.Tick(absl::Seconds(10));
    EXPECT_EQ(second.Tick(absl::Seconds(10)).phase(), control::v1::FOLLOW);
  }
  EXPECT_EQ(first.Tick(absl::Seconds(1)).problem().id(), "REPLICA_LOST_LEASE");
  // And when the second is no more, it has it.
  control::v1::ReplicaObserved seen;
  for (int i = 0; i < 30 && seen.phase() != control::v1::FOLLOW; ++i)
    seen = first.Tick(absl::Seconds(10));
  EXPECT_EQ(seen.phase(), control::v1::FOLLOW) << seen.problem().message();
}

TEST_F(PageBlobBackendTest, APointThatIsShownStaysAndSaysWhereItIs) {
  Server server("h1", &container_);
  server.also.mutable_retention_age()->set_seconds(1);
  server.also.set_shown_point_id("p1");
  server.Want(control::v1::FOLLOW);
  server.Stream(StreamWithTwoPoints());
  control::v1::ReplicaObserved seen;
  for (int i = 0; i < 5; ++i) seen = server.Tick(absl::Seconds(10));
  EXPECT_EQ(seen.shown_point_id(), "p1");
  ASSERT_EQ(seen.shown_paths_size(), 1);
  EXPECT_EQ(At(seen.shown_paths(0)), "a");
  EXPECT_EQ(seen.points_size(), 2);
  // One that is not there is not shown.
  server.also.set_shown_point_id("p9");
  server.Want(control::v1::FOLLOW);
  EXPECT_EQ(server.Tick(absl::Milliseconds(200)).shown_point_id(), "");
  server.also.clear_shown_point_id();
  server.Want(control::v1::FOLLOW);
  seen = server.Tick(absl::Seconds(10));
  EXPECT_EQ(seen.points_size(), 1);
  EXPECT_EQ(seen.shown_paths_size(), 0);
}

TEST_F(PageBlobBackendTest, WhatIsKeptChangesWhileTheReplicaFollows) {
  Server server("h1", &container_);
  server.Want(control::v1::FOLLOW);
  server.Stream(StreamWithTwoPoints());
  EXPECT_EQ(server.Tick(absl::Seconds(10)).points_size(), 2);
  server.also.set_retention_bytes(1);
  const control::v1::ReplicaObserved told = server.Want(control::v1::FOLLOW);
  EXPECT_EQ(told.phase(), control::v1::FOLLOW);
  const control::v1::ReplicaObserved seen = server.Tick(absl::Seconds(5));
  ASSERT_EQ(seen.points_size(), 1) << "the newest stays, whatever it takes";
  EXPECT_EQ(seen.points(0).id(), "p2");
  EXPECT_EQ(seen.phase(), control::v1::FOLLOW);
  EXPECT_FALSE(seen.has_problem()) << seen.problem().message();
}

TEST_F(PageBlobBackendTest, APointThatIsGoneIsNotTheBlobsThemselves) {
  Server server("h1", &container_);
  server.Want(control::v1::FOLLOW);
  server.Stream(StreamWithTwoPoints());
  ASSERT_EQ(server.Want(control::v1::RECOVER, "p1").phase(), control::v1::RECOVER);
  server.WantNothing();  // as when it is started again
  control::v1::ReplicaObserved seen = server.Want(control::v1::RECOVER, "p1");
  ASSERT_EQ(seen.phase(), control::v1::RECOVER) << seen.problem().message();
  EXPECT_EQ(At(seen.disk_paths(0)), "a");
  auto& snapshots = container_.blobs.begin()->second.snapshots;
  snapshots.erase(snapshots.begin());
  server.WantNothing();
  seen = server.Want(control::v1::RECOVER, "p1");
  EXPECT_NE(seen.phase(), control::v1::RECOVER);
  EXPECT_EQ(seen.problem().id(), "POINT_NOT_FOUND");
}

TEST_F(PageBlobBackendTest, SaysWhatAzureRefuses) {
  const struct {
    absl::StatusCode code;
    const char* problem;
  } cases[] = {{absl::StatusCode::kUnavailable, "CONTAINER_NOT_REACHABLE"},
               {absl::StatusCode::kNotFound, "CONTAINER_NOT_REACHABLE"},
               {absl::StatusCode::kPermissionDenied, "STORAGE_ACCESS_REFUSED"},
               {absl::StatusCode::kResourceExhausted, "STORAGE_THROTTLED"}};
  for (const auto& one : cases) {
    Server server("h1", &container_);
    server.client().lost = absl::Status(one.code, "AzureSaysSo");
    server.client().loss = [](absl::string_view, const std::string&) {
      return ModelPageBlobs::Loss::kBefore;
    };
    const control::v1::ReplicaObserved seen = server.Want(control::v1::FOLLOW);
    EXPECT_EQ(seen.problem().id(), one.problem);
    EXPECT_TRUE(absl::StrContains(seen.problem().message(), "AzureSaysSo"));
    server.containers().Look();
    EXPECT_TRUE(server.containers().reachable().empty());
    ASSERT_EQ(server.containers().issues().size(), 1u);
    EXPECT_EQ(server.containers().issues()[0].problem().id(), one.problem);
    // It is not asked again at each tick.
    const uint64_t requests = server.client().requests;
    for (int i = 0; i < 5; ++i) server.Tick(absl::Milliseconds(200));
    EXPECT_EQ(server.client().requests, requests);
    server.client().loss = nullptr;
    EXPECT_EQ(server.Tick(absl::Seconds(10)).phase(), control::v1::FOLLOW);
    server.containers().Look();
    EXPECT_EQ(server.containers().reachable(), std::vector<std::string>{kUrl});
    EXPECT_TRUE(server.containers().issues().empty());
  }
}

TEST_F(PageBlobBackendTest, AContainerThatIsNotConfiguredIsNamed) {
  Server server("h1", &container_);
  const control::v1::ReplicaObserved seen =
      server.Want(control::v1::FOLLOW, "", "https://b.blob.core.windows.net/c");
  EXPECT_EQ(seen.problem().id(), "CONTAINER_NOT_REACHABLE");
  EXPECT_TRUE(absl::StrContains(seen.problem().message(), "azure.storage"))
      << seen.problem().message();
}

}  // namespace
}  // namespace homeward
