// A stream as it is written, and a store in a modelled container, for the tests of this folder.
#ifndef HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_DOUBLES_H_
#define HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_DOUBLES_H_

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "process_server/azure/page_blob_store.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/fakes/manual_clock.h"

namespace homeward::testing {

inline constexpr uint64_t kDiskBytes = 64 * kKiB;
inline constexpr size_t kDisks = 2;
inline constexpr char kContainer[] = "https://a.blob.core.windows.net/c";

inline PageBlobStore::Replica ReplicaOn(const std::string& host, const std::string& id = "r1",
                                        uint64_t generation = 2) {
  return {.container_url = kContainer,
          .host_id = host,
          .machine_id = "m1",
          .replica_id = id,
          .generation = generation,
          .disks = {{"m1/d0.vhd", kDiskBytes, "00000000000000000000000000000001"},
                    {"m1/d1.vhd", kDiskBytes, "00000000000000000000000000000002"}}};
}

using Disks = std::vector<std::string>;

// A group of batches, and what the machine's disks are after it.
struct Step {
  std::vector<SealedBatch> batches;
  StreamPosition position;
  Disks disks;
};
struct Script {
  std::vector<Step> steps;
  std::map<std::string, Disks> points;  // what the disks were
};

// Builds the script of a stream, with the disks beside it.
class Author {
 public:
  Author() = default;
  explicit Author(StreamPosition first) : position_(first) {}
  void EpochBegin(bool fresh) {
    Seal(SealEpochBegin({BatchKind::kEpochBegin, Next(), 2}, {.fresh_replica = fresh}));
  }
  void SyncEnd() { Seal(BatchBuilder().Seal({BatchKind::kSyncEnd, Next(), 2})); }
  void Data(uint32_t disk, uint64_t offset, uint64_t length, char content) {
    const MutableBytes place = builder_.AddData(disk, {offset, length});
    std::fill(place.begin(), place.end(), static_cast<uint8_t>(content));
    disks_[disk].replace(offset, length, length, content);
  }
  void Zeroes(uint32_t disk, uint64_t offset, uint64_t length) {
    builder_.AddZeroes(disk, {offset, length});
    disks_[disk].replace(offset, length, length, '\0');
  }
  void Writes() { Seal(builder_.Seal({BatchKind::kWrites, Next(), 2})); }
  void Point(const std::string& id) {
    const StreamPosition position = Next();
    Seal(SealMarker({BatchKind::kMarker, position, 2},
                    {.time = absl::UnixEpoch() + absl::Seconds(position.sequence),
                     .id = id,
                     .consistency = Consistency::kFrozen,
                     .how = "stood still \xc3\xa9"}));
    script_.points[id] = disks_;
  }
  void EndGroup() {
    step_.position = position_;
    step_.disks = disks_;
    script_.steps.push_back(std::exchange(step_, {}));
  }
  Script Take() { return std::move(script_); }

 private:
  StreamPosition Next() {
    if (begun_) ++position_.sequence;
    begun_ = true;
    return position_;
  }
  void Seal(SealedBatch batch) { step_.batches.push_back(std::move(batch)); }

  bool begun_ = false;
  StreamPosition position_{1, 0};
  BatchBuilder builder_;
  Disks disks_ = Disks(kDisks, std::string(kDiskBytes, '\0'));
  Step step_;
  Script script_;
};

inline Script SomeStream() {
  Author author;
  author.EpochBegin(true);
  author.Data(0, 0, 4096, 'a');
  author.Data(1, 8192, 512, 'b');
  author.Writes();
  author.EndGroup();
  author.SyncEnd();
  author.Point("p1");
  // One upon the other, with parts left over on both sides, and zeroes in between.
  author.Data(0, 1024, 2048, 'c');
  author.Data(0, 512, 1024, 'd');
  author.Writes();
  author.Zeroes(0, 1536, 512);
  author.Data(0, 4096, 4096, 'e');
  author.Writes();
  author.EndGroup();
  author.Point("p2");
  author.EndGroup();
  author.Zeroes(1, 8192, 512);
  author.Data(1, 60 * kKiB, 4096, 'f');
  author.Writes();
  author.Point("p3");
  author.Data(0, 0, 512, 'g');
  author.Writes();
  author.EndGroup();
  return author.Take();
}

// The client's process dies at its request of that number, before or after the effect: nothing
// later has one. `died` says whether it came to that.
inline void DieAt(uint64_t request, ModelPageBlobs::Loss loss, ModelPageBlobs* client, bool* died) {
  client->loss = [=](absl::string_view, const std::string&) {
    if (client->requests < request) return ModelPageBlobs::Loss::kNone;
    *died = true;
    return client->requests == request ? loss : ModelPageBlobs::Loss::kBefore;
  };
}

inline absl::Status Apply(ReplicaStore& store, const Step& step) {
  std::vector<absl::string_view> sealed;
  for (const SealedBatch& batch : step.batches) sealed.push_back(batch.view());
  return store.Apply(sealed);
}

class PageBlobStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<PageBlobStore> Open(const PageBlobStore::Replica& replica,
                                      PageBlobStore::Claim* claim = nullptr) {
    PageBlobStore::Claim none;
    absl::StatusOr<PageBlobStore::Opened> opened =
        PageBlobStore::Open(blobs_, clock_, replica, claim == nullptr ? &none : claim);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) return nullptr;
    fresh_ = opened->fresh;
    EXPECT_TRUE(opened->store->Fence(replica.generation).ok());
    return std::move(opened->store);
  }
  std::string ContentOf(size_t disk, const std::string& snapshot = "") {
    ModelPageBlobs reader(&container_);
    return reader.Read(ReplicaOn("").disks[disk].blob, snapshot, 0, kDiskBytes).value_or("");
  }
  void ExpectDisks(const Disks& wanted) {
    for (size_t i = 0; i < kDisks; ++i) EXPECT_TRUE(ContentOf(i) == wanted[i]) << "disk " << i;
  }
  // The snapshots of each point are what the disks were.
  void ExpectPoints(const PageBlobStore& store, const std::map<std::string, Disks>& wanted) {
    for (const ReplicaPoint& point : store.points()) {
      const std::vector<std::string> urls = store.PathsAt(point.marker.id);
      ASSERT_EQ(urls.size(), kDisks);
      for (size_t i = 0; i < kDisks; ++i) {
        const std::string snapshot = urls[i].substr(urls[i].find("?snapshot=") + 10);
        EXPECT_TRUE(ContentOf(i, snapshot) == wanted.at(point.marker.id)[i])
            << point.marker.id << " disk " << i;
      }
    }
  }
  static std::vector<std::string> Ids(const ReplicaStore& store) {
    std::vector<std::string> ids;
    for (const ReplicaPoint& point : store.points()) ids.push_back(point.marker.id);
    return ids;
  }
  size_t SnapshotCount() {
    size_t count = 0;
    for (const auto& [name, blob] : container_.blobs) count += blob.snapshots.size();
    return count;
  }

  ModelContainer container_;
  ModelPageBlobs blobs_{&container_};
  ManualClock clock_;
  bool fresh_ = false;
};

}  // namespace homeward::testing

#endif  // HOMEWARD_PROCESS_SERVER_AZURE_PAGE_BLOB_DOUBLES_H_
