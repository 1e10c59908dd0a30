// homeward-bench-keeper DIRECTORY MEBIBYTES SECONDS: random 64 KiB overwrites of a VMDK by a keeper
// with its recovery journal beside it, as a master target makes them, with a point every 2 s and
// points kept for 10 s. Only the keeper's time counts, not that of making the writes. Prints one
// line of JSON.

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/synchronization/mutex.h"
#include "common/base/bytes.h"
#include "common/clock/clock.h"
#include "common/exec/strand.h"
#include "common/os/host.h"
#include "common/status/status_macros.h"
#include "common/vmdk/vmdk.h"
#include "master_target/keeper/keeper.h"

namespace homeward {
namespace {

constexpr uint64_t kWriteBytes = 64 * kKiB;
constexpr uint64_t kBatchBytes = kMiB;
constexpr size_t kGroupBatches = 4;          // what a receiver hands over at once under load
constexpr size_t kRoundBatches = 128;        // made before their time begins
constexpr uint64_t kWindow = 16 * kMiB;      // what a sender may send ahead of what is durable
constexpr uint64_t kSyncedBytes = 8 * kMiB;  // what the keeper writes between two syncs
constexpr absl::Duration kPointInterval = absl::Seconds(2);
constexpr absl::Duration kPointAge = absl::Seconds(10);

class Bench {
 public:
  Bench(std::string directory, uint64_t disk_bytes)
      : directory_(std::move(directory)), disk_bytes_(disk_bytes) {}

  absl::Status Run(absl::Duration time) {
    HW_RETURN_IF_ERROR(Open());
    HW_RETURN_IF_ERROR(Fill());
    const uint64_t written_before = WrittenBytes();
    absl::Duration last_point = clock_.Monotonic(), busy;
    uint64_t received = 0;
    while (busy < time) {
      std::vector<std::vector<SealedBatch>> groups;
      for (size_t i = 0; i < kRoundBatches; ++i) {
        if (i % kGroupBatches == 0) groups.emplace_back();
        groups.back().push_back(RandomBatch());
        received += kBatchBytes;
      }
      if (clock_.Monotonic() - last_point >= kPointInterval) {
        last_point = clock_.Monotonic();
        groups.back().push_back(Mark());
      }
      const absl::Duration begun = clock_.Monotonic();
      for (std::vector<SealedBatch>& group : groups) HW_RETURN_IF_ERROR(Begin(std::move(group)));
      HW_RETURN_IF_ERROR(keeper_->Finish());
      HW_RETURN_IF_ERROR(keeper_->Retain({kPointAge, UINT64_MAX}, clock_.Now()).status());
      busy += clock_.Monotonic() - begun;
    }
    const double seconds = absl::ToDoubleSeconds(busy);
    std::printf(
        "{\"mib_per_s\": %.1f, \"written_per_received\": %.3f, \"group_bytes\": %llu}\n",
        static_cast<double>(received) / static_cast<double>(kMiB) / seconds,
        static_cast<double>(WrittenBytes() - written_before) / static_cast<double>(received),
        static_cast<unsigned long long>(kSyncedBytes));
    return absl::OkStatus();
  }

 private:
  absl::Status Open() {
    bool created = false;
    HW_ASSIGN_OR_RETURN(std::unique_ptr<File> flat,
                        OpenOrCreateVmdk(RealFileSystem(),
                                         {.directory = directory_ + "/datastore",
                                          .name = "disk",
                                          .size_bytes = disk_bytes_,
                                          .uuid = std::string(32, 'a'),
                                          .content_id = 1},
                                         &created));
    std::vector<ReplicaDisk> disks;
    disks.push_back({std::move(flat), disk_bytes_});
    HW_ASSIGN_OR_RETURN(keeper_, Keeper::Open(RealFileSystem(), directory_ + "/retention",
                                              std::move(disks), {.make_strand = MakeThreadStrand}));
    keeper_->SetOnArrival([this] {
      absl::MutexLock lock(&mutex_);
      arrived_ = true;
    });
    return absl::OkStatus();
  }
  // As a replica's strand does.
  absl::Status Begin(std::vector<SealedBatch> group) {
    while (keeper_->under_way_bytes() + kGroupBatches * kBatchBytes > kWindow) {
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(&arrived_));
        arrived_ = false;
      }
      HW_RETURN_IF_ERROR(keeper_->Settle());
    }
    return keeper_->Begin(std::move(group));
  }
  // A first synchronisation: every block of the disk is there, and so is a point.
  absl::Status Fill() {
    HW_RETURN_IF_ERROR(
        Apply({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {{}, true, {}})}));
    for (uint64_t at = 0; at + kBatchBytes <= disk_bytes_; at += kBatchBytes) {
      BatchBuilder builder;
      FillWithNoise(builder.AddData(0, {at, kBatchBytes}));
      HW_RETURN_IF_ERROR(Apply({builder.Seal({BatchKind::kSyncChunk, Next(), 1})}));
    }
    BatchBuilder end;
    HW_RETURN_IF_ERROR(Apply({end.Seal({BatchKind::kSyncEnd, Next(), 1})}));
    return Apply({Mark()});
  }
  SealedBatch RandomBatch() {
    BatchBuilder builder;
    for (uint64_t bytes = 0; bytes < kBatchBytes; bytes += kWriteBytes) {
      const uint64_t at = random_() % (disk_bytes_ / kWriteBytes) * kWriteBytes;
      FillWithNoise(builder.AddData(0, {at, kWriteBytes}));
    }
    return builder.Seal({BatchKind::kWrites, Next(), 1});
  }
  SealedBatch Mark() {
    return SealMarker({BatchKind::kMarker, Next(), 1},
                      {PointKind::kCrashConsistent, clock_.Now(), std::to_string(sequence_)});
  }
  // Cheap, and not zeroes.
  void FillWithNoise(MutableBytes place) {
    uint64_t word = random_();
    for (size_t at = 0; at + sizeof(word) <= place.size(); at += sizeof(word), word += 0x9e3779b9)
      std::memcpy(place.data() + at, &word, sizeof(word));
  }
  absl::Status Apply(const std::vector<SealedBatch>& group) {
    std::vector<absl::string_view> views;
    for (const SealedBatch& batch : group) views.push_back(batch.view());
    return keeper_->Apply(views);
  }
  StreamPosition Next() { return {1, ++sequence_}; }
  // What this process has had written to devices, as the kernel counts it.
  static uint64_t WrittenBytes() {
    std::FILE* const file = std::fopen("/proc/self/io", "r");
    char line[128];
    unsigned long long bytes = 0;
    while (file != nullptr && std::fgets(line, sizeof(line), file) != nullptr) {
      if (std::sscanf(line, "write_bytes: %llu", &bytes) == 1) break;
    }
    if (file != nullptr) std::fclose(file);
    return bytes;
  }

  const std::string directory_;
  const uint64_t disk_bytes_;
  RealClock clock_;
  std::mt19937_64 random_{7};
  uint64_t sequence_ = 0;
  absl::Mutex mutex_;
  bool arrived_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<Keeper> keeper_;
};

absl::Status MakeHistory(const std::string& directory, uint64_t mebibytes, uint64_t points) {
  HW_RETURN_IF_ERROR(RealFileSystem().MakeDirectories(directory));
  HW_ASSIGN_OR_RETURN(std::unique_ptr<RecoveryJournal> journal,
                      RecoveryJournal::Open(RealFileSystem(), directory, {kGiB}));
  for (uint64_t point = 0; point < points; ++point) {
    StreamState state;
    state.position = {1, point + 1};
    state.syncing = false;
    HW_RETURN_IF_ERROR(journal->MakePoint(
        {PointKind::kCrashConsistent, absl::FromUnixSeconds(static_cast<int64_t>(point)),
         std::to_string(point)},
        state));
  }
  journal.reset();
  HW_ASSIGN_OR_RETURN(std::vector<std::string> names, RealFileSystem().List(directory));
  names.pop_back();  // The open one has what it has.
  for (const std::string& name : names) {
    HW_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                        RealFileSystem().Open(JoinPath(directory, name), OpenMode::kReadWrite));
    HW_RETURN_IF_ERROR(file->Truncate(mebibytes * kMiB / points));
  }
  return absl::OkStatus();
}

absl::Status TimeOpening(const std::string& directory, uint64_t mebibytes, uint64_t points) {
  HW_RETURN_IF_ERROR(MakeHistory(directory, mebibytes, points));
  const RealClock clock;
  const absl::Duration begun = clock.Monotonic();
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<RecoveryJournal> journal,
                      RecoveryJournal::Open(RealFileSystem(), directory, {kGiB}));
  const absl::Duration opened = clock.Monotonic();
  uint64_t listed = 0;
  for (const ReplicaPoint& point : journal->points()) listed += point.marker.id.size();
  const absl::Duration ended = clock.Monotonic();
  std::printf(
      "{\"open_seconds\": %.4f, \"list_seconds\": %.6f, \"points\": %zu, \"bytes\": %llu}\n",
      absl::ToDoubleSeconds(opened - begun), absl::ToDoubleSeconds(ended - opened),
      listed > 0 ? journal->points().size() : 0,
      static_cast<unsigned long long>(journal->size_bytes()));
  return absl::OkStatus();
}

}  // namespace
}  // namespace homeward

int main(int argc, char** argv) {
  homeward::TuneProcess();
  uint64_t history = 0, points = 0;
  if (argc == 5 && absl::string_view(argv[2]) == "open" && absl::SimpleAtoi(argv[3], &history) &&
      absl::SimpleAtoi(argv[4], &points) && points > 0) {
    const absl::Status timed = homeward::TimeOpening(argv[1], history, points);
    if (!timed.ok()) std::fprintf(stderr, "%s\n", timed.ToString().c_str());
    return timed.ok() ? 0 : 1;
  }
  uint64_t mebibytes = 0, seconds = 0;
  if (argc != 4 || !absl::SimpleAtoi(argv[2], &mebibytes) || !absl::SimpleAtoi(argv[3], &seconds) ||
      mebibytes == 0) {
    std::fprintf(stderr,
                 "usage: homeward-bench-keeper DIRECTORY MEBIBYTES SECONDS\n"
                 "       homeward-bench-keeper DIRECTORY open MEBIBYTES POINTS\n");
    return 2;
  }
  const absl::Status ran = homeward::Bench(argv[1], mebibytes * homeward::kMiB)
                               .Run(absl::Seconds(static_cast<int64_t>(seconds)));
  if (!ran.ok()) std::fprintf(stderr, "%s\n", ran.ToString().c_str());
  return ran.ok() ? 0 : 1;
}
