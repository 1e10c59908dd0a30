// What a new kind of target takes: the store and the backend below, and the line that puts them
// into the table. The rest is this room's, as for every other kind. This one keeps disks and points
// in memory, a copy for each point.
#include "common/replica/replicas.h"
#include "common/replication/stream_call.h"
#include "common/replication/target.h"
#include "common/wire/checksum.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

using control::v1::Target;

struct Bucket {
  std::vector<std::string> disks;
  StreamState state;
  std::string recovered;
  std::vector<ReplicaPoint> points;
  std::vector<std::vector<std::string>> copies;  // of the disks, one for each point
  bool full = false;                             // nothing can be kept now
};

class BucketStore : public ReplicaStore {
 public:
  BucketStore(Bucket* bucket, std::vector<uint64_t> disk_bytes)
      : ReplicaStore(std::move(disk_bytes), StreamOrder(bucket->state, bucket->recovered)),
        bucket_(*bucket) {}
  const std::vector<ReplicaPoint>& points() const override { return bucket_.points; }
  uint64_t journal_bytes() const override { return bucket_.copies.size() * disk_bytes()[0]; }
  uint64_t KeptBytes(size_t) const override { return disk_bytes()[0]; }
  absl::StatusOr<std::vector<uint32_t>> Differing(
      uint32_t disk, uint64_t offset, uint64_t bytes,
      const std::vector<std::string>& digests) override {
    std::vector<uint32_t> differing;
    for (uint32_t i = 0; i < digests.size(); ++i) {
      const std::string block = bucket_.disks.at(disk).substr(offset + i * bytes, bytes);
      if (Digest128(AsBytes(block)) != digests[i]) differing.push_back(i);
    }
    return differing;
  }

 protected:
  absl::Status Write(const std::vector<Range>& ranges) override {
    for (const Range& range : ranges) {
      const std::string zeroes(range.content.empty() ? range.extent.length : 0, '\0');
      bucket_.disks[range.disk].replace(
          range.extent.offset, range.extent.length,
          range.content.empty() ? zeroes : std::string(range.content));
    }
    return absl::OkStatus();
  }
  absl::Status Commit(const StreamState& state) override {
    if (bucket_.full) return absl::ResourceExhaustedError("the bucket is full");
    bucket_.state = state;
    bucket_.recovered.clear();
    return absl::OkStatus();
  }
  absl::Status MakePoint(const Marker& marker, const StreamState& state) override {
    bucket_.points.push_back({marker, state.position.sequence});
    bucket_.copies.push_back(bucket_.disks);
    return Commit(state);
  }
  absl::Status GoToPoint(absl::string_view id) override {
    for (size_t i = 0; i < bucket_.points.size(); ++i) {
      if (bucket_.points[i].marker.id != id) continue;
      bucket_.disks = bucket_.copies[i];
      bucket_.recovered = std::string(id);
      return absl::OkStatus();
    }
    return absl::NotFoundError("no such point");
  }
  absl::Status DropOldestPoint() override {
    bucket_.points.erase(bucket_.points.begin());
    bucket_.copies.erase(bucket_.copies.begin());
    return absl::OkStatus();
  }

 private:
  Bucket& bucket_;
};

class BucketBackend : public ReplicaBackend {
 public:
  BucketBackend(Bucket* bucket, const control::v1::Replica& replica) : bucket_(*bucket) {
    for (const types::v1::Disk& disk : replica.disks()) disk_bytes_.push_back(disk.size_bytes());
  }
  absl::StatusOr<Opened> Open() override {
    const bool created = bucket_.disks.empty();
    for (size_t i = bucket_.disks.size(); i < disk_bytes_.size(); ++i)
      bucket_.disks.emplace_back(disk_bytes_[i], '\0');
    return Opened{std::make_unique<BucketStore>(&bucket_, disk_bytes_), created};
  }
  std::vector<std::string> Paths() const override { return {"bucket"}; }
  absl::StatusOr<std::string> Stamp(int) override { return std::string(); }
  absl::Status Remove() override {
    bucket_ = Bucket();
    return absl::OkStatus();
  }

 private:
  Bucket& bucket_;
  std::vector<uint64_t> disk_bytes_;
};

// --- the rest is what drives it: a clock that stands, a strand that runs at once, a call

struct StandingClock : Clock {
  absl::Time Now() const override { return absl::UnixEpoch(); }
  absl::Duration Monotonic() const override { return absl::Seconds(1); }
};
struct OwnThread : Strand {
  void Post(std::function<void()> callback) override { callback(); }
  void PostAfter(absl::Duration, std::function<void()>) override {}
  void Run(const std::function<void()>& callback) override { callback(); }
  void Stop() override {}
};
struct Call : ReceiverCall {
  bool Read(UpstreamMessage* message) override {
    if (batches.empty()) return false;
    *message = {{}, batches.front()};
    batches.erase(batches.begin());
    return true;
  }
  bool Write(const replication::v1::Downstream& message) override {
    last = message;
    return true;
  }
  void Cancel() override {}
  std::vector<SealedBatch> batches;
  replication::v1::Downstream last;
};

class AddTarget : public ::testing::Test {
 protected:
  void Want(control::v1::ReplicaPhase phase, const std::string& point = "",
            uint64_t generation = 2) {
    control::v1::MasterTargetDesired desired;
    control::v1::Replica& replica = *desired.add_replicas();
    replica.set_replica_id("r1");
    replica.set_machine_id("m1");
    replica.set_generation(generation);
    replica.add_disks()->set_size_bytes(kMiB);
    replica.set_phase(phase);
    replica.set_point_id(point);
    Target target;
    target.mutable_datastore_directory()->set_directory("bucket");
    SetTarget(target, &replica);
    replicas_.Want(desired.replicas());
  }
  control::v1::ReplicaObserved Seen() { return replicas_.observed().at(0); }
  replication::v1::Downstream Stream(std::vector<SealedBatch> batches, uint64_t generation = 2) {
    UpstreamMessage first;
    first.message.mutable_hello()->set_version_major(kReplicationVersionMajor);
    first.message.mutable_hello()->set_machine_id("m1");
    first.message.mutable_hello()->set_generation(generation);
    first.message.mutable_hello()->add_disk_bytes(kMiB);
    Call call;
    call.batches = std::move(batches);
    RunReceiver(*replicas_.Find("m1"), std::move(first), &call, 0);
    return call.last;
  }
  static SealedBatch Writes(uint64_t sequence, char content) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {64 * kKiB, 4096});
    std::fill(place.begin(), place.end(), static_cast<uint8_t>(content));
    return builder.Seal({BatchKind::kWrites, {1, sequence}, 2});
  }
  static SealedBatch Point(uint64_t sequence, const std::string& id) {
    return SealMarker({BatchKind::kMarker, {1, sequence}, 2},
                      {.time = absl::UnixEpoch(), .id = id});
  }

  Bucket bucket_;
  MemoryDisk disk_{1};
  StandingClock clock_;
  BackendTable table_ = {{Target::kDatastoreDirectory,
                          [this](const BackendParts&, const control::v1::Replica& replica) {
                            return std::make_unique<BucketBackend>(&bucket_, replica);
                          }}};
  int news_ = 0;
  Replicas replicas_{
      StreamRuntime{.files = disk_,
                    .clock = clock_,
                    .make_strand = [](const std::string&) { return std::make_unique<OwnThread>(); },
                    .on_news = [this] { ++news_; }},
      Replicas::Volumes{.retention_directory = "/retention", .backends = table_}};
};

TEST_F(AddTarget, TakesAStreamWithPointsIsRecoveredAndRemoved) {
  Want(control::v1::FOLLOW);
  EXPECT_TRUE(Seen().created_fresh());
  const std::vector<SealedBatch> all = {
      SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 2}, {.fresh_replica = true}),
      Writes(1, 'a'),
      BatchBuilder().Seal({BatchKind::kSyncEnd, {1, 2}, 2}),
      Point(3, "p1"),
      Writes(4, 'b'),
      Point(5, "p2")};
  EXPECT_EQ(Stream(all).acknowledgement().durable().sequence(), 5u);
  Want(control::v1::FOLLOW);
  ASSERT_EQ(Seen().points_size(), 2);
  EXPECT_EQ(bucket_.disks[0][64 * kKiB], 'b');

  EXPECT_EQ(Stream(all).acknowledgement().durable().sequence(), 5u) << "all of it is held";
  EXPECT_EQ(bucket_.points.size(), 2u);
  EXPECT_EQ(Stream({Writes(7, 'c')}).refusal().code(),
            static_cast<uint32_t>(absl::StatusCode::kOutOfRange));
  EXPECT_EQ(Stream({}, 1).refusal().code(), static_cast<uint32_t>(absl::StatusCode::kAborted));

  Want(control::v1::RECOVER, "p1");
  EXPECT_EQ(Seen().phase(), control::v1::RECOVER) << Seen().problem().message();
  EXPECT_EQ(bucket_.disks[0], std::string(64 * kKiB, '\0') + std::string(4096, 'a') +
                                  std::string(kMiB - 68 * kKiB, '\0'));
  Want(control::v1::DELETE);
  EXPECT_EQ(Seen().phase(), control::v1::DELETE);
  EXPECT_TRUE(bucket_.disks.empty());
}

TEST_F(AddTarget, WhatJobsWaitForIsToldAtOnceAndNothingElseIs) {
  Want(control::v1::FOLLOW);
  EXPECT_GT(news_, 0);
  Stream({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 2}, {.fresh_replica = true})});
  EXPECT_TRUE(Seen().syncing());
  const int begun = news_;
  Stream({Writes(1, 'a')});
  EXPECT_EQ(news_, begun);
  Stream({BatchBuilder().Seal({BatchKind::kSyncEnd, {1, 2}, 2})});
  EXPECT_EQ(news_, begun + 1);
  EXPECT_FALSE(Seen().syncing());
  Stream({Point(3, "p1")});
  EXPECT_EQ(news_, begun + 2);
  EXPECT_EQ(Seen().points_size(), 1);
}

TEST_F(AddTarget, OneThatCouldNotFollowInANewGenerationDoesOnceItCan) {
  Want(control::v1::FOLLOW);
  bucket_.full = true;
  Want(control::v1::FOLLOW, "", 3);
  EXPECT_EQ(Seen().problem().id(), "VOLUME_FULL");
  bucket_.full = false;
  Want(control::v1::FOLLOW, "", 3);
  EXPECT_FALSE(Seen().has_problem()) << Seen().problem().message();
  EXPECT_FALSE(Stream({}, 3).has_refusal());
}

TEST_F(AddTarget, WhatIsNotInTheTableIsRefusedAndSaid) {
  Replicas older(StreamRuntime{disk_, clock_,
                               [](const std::string&) { return std::make_unique<OwnThread>(); }},
                 Replicas::Volumes{.retention_directory = "/retention", .backends = {}});
  control::v1::MasterTargetDesired desired;
  desired.add_replicas()->set_phase(control::v1::FOLLOW);
  older.Want(desired.replicas());
  EXPECT_EQ(older.observed().at(0).problem().id(), "REPLICA_UNSUITABLE");
}

}  // namespace
}  // namespace homeward
