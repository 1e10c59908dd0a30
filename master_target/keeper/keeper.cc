#include "master_target/keeper/keeper.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/algorithm/container.h"
#include "common/base/aligned_buffer.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr uint64_t kReadBytesMax = kMiB;  // at once, and of one undo record
constexpr uint64_t kDigestReadBytes = 4 * kMiB;
constexpr uint64_t kUndoHalfBytes = 2 * kMiB;  // of old content in memory
constexpr uint64_t kRecoverGroupBytes = 16 * kMiB;
constexpr int kWriters = 2;  // one writes, one syncs

}  // namespace

Keeper::Keeper(std::unique_ptr<RecoveryJournal> journal, std::vector<ReplicaDisk> disks,
               std::vector<uint64_t> disk_bytes, const Options& options)
    : ReplicaStore(std::move(disk_bytes),
                   StreamOrder(journal->state(), journal->recovered_point())),
      delivery_bytes_(options.delivery_bytes),
      recover_ranges_max_(options.recover_ranges_max),
      journal_(std::move(journal)),
      unsynced_(disks.size()),
      disks_(std::move(disks)),
      scrub_(disks_.size()) {}

absl::StatusOr<std::unique_ptr<Keeper>> Keeper::Open(FileSystem& files,
                                                     const std::string& journal_directory,
                                                     std::vector<ReplicaDisk> disks,
                                                     const Options& options) {
  for (size_t i = 0; i < disks.size(); ++i) {
    HW_ASSIGN_OR_RETURN(const uint64_t size, disks[i].file->Size());
    if (size < disks[i].size_bytes) {
      return absl::FailedPreconditionError(
          absl::StrCat("replica disk ", i, " has ", size, " bytes, the machine's has ",
                       disks[i].size_bytes, ": it cannot hold it"));
    }
  }
  std::vector<uint64_t> disk_bytes;
  for (const ReplicaDisk& disk : disks) disk_bytes.push_back(disk.size_bytes);
  HW_ASSIGN_OR_RETURN(std::unique_ptr<RecoveryJournal> journal,
                      RecoveryJournal::Open(files, journal_directory, disk_bytes));
  std::unique_ptr<Keeper> keeper(
      new Keeper(std::move(journal), std::move(disks), std::move(disk_bytes), options));
  if (options.make_strand) {
    for (int i = 0; i < kWriters; ++i) keeper->writers_.push_back(options.make_strand("keeper"));
  }
  return keeper;
}

Keeper::~Keeper() {
  Abandon();
  for (const auto& writer : writers_) writer->Stop();
}

// Written on a writer's strand, or by whoever waits for it before it has begun there.
class Keeper::Writing : public ReplicaStore::Delivery {
 public:
  Writing(Keeper* keeper, const std::vector<Range>& ranges)
      : keeper_(*keeper), work_(std::make_shared<Work>(ranges, keeper->journal_->protecting())) {
    Strand& writer = *keeper_.writers_[keeper_.next_writer_++ % keeper_.writers_.size()];
    writer.Post([keeper, work = work_] {
      if (Do(keeper, work.get())) keeper->OnArrival();
    });
  }
  ~Writing() override {
    // What has not begun never does.
    absl::MutexLock lock(&work_->mutex);
    if (!std::exchange(work_->begun, true)) work_->ended = true;
    work_->mutex.Await(absl::Condition(&work_->ended));
  }
  bool has_ended() const override {
    absl::MutexLock lock(&work_->mutex);
    return work_->ended;
  }
  absl::Status Await() override {
    if (Do(&keeper_, work_.get())) keeper_.OnArrival();
    absl::Status result;
    {
      absl::MutexLock lock(&work_->mutex);
      work_->mutex.Await(absl::Condition(&work_->ended));
      result = work_->result;
    }
    if (result.ok()) keeper_.NoteWritten(work_->ranges);
    return result;
  }

 private:
  struct Work {
    Work(const std::vector<Range>& ranges, bool save_old) : ranges(ranges), save_old(save_old) {}
    const std::vector<Range> ranges;
    const bool save_old;
    absl::Mutex mutex;
    bool begun ABSL_GUARDED_BY(mutex) = false;
    bool ended ABSL_GUARDED_BY(mutex) = false;
    absl::Status result ABSL_GUARDED_BY(mutex);
  };
  // False: somebody else does, or did. Of a keeper that is gone nothing is left to do.
  static bool Do(Keeper* keeper, Work* work) {
    {
      absl::MutexLock lock(&work->mutex);
      if (std::exchange(work->begun, true)) return false;
    }
    absl::Status result = keeper->SaveAndWrite(work->ranges, work->save_old);
    absl::MutexLock lock(&work->mutex);
    work->result = std::move(result);
    work->ended = true;
    return true;
  }

  Keeper& keeper_;
  const std::shared_ptr<Work> work_;
};

std::unique_ptr<ReplicaStore::Delivery> Keeper::Deliver(const std::vector<Range>& ranges) {
  if (writers_.empty()) return nullptr;
  Touch(ranges);
  return std::make_unique<Writing>(this, ranges);
}

uint64_t Keeper::delivery_bytes() const {
  return writers_.empty() ? ReplicaStore::delivery_bytes() : delivery_bytes_;
}

void Keeper::Touch(const std::vector<Range>& ranges) {
  for (const Range& range : ranges) scrub_.Touched(range.disk, range.extent);
}

void Keeper::NoteWritten(const std::vector<Range>& ranges) {
  for (const Range& range : ranges) scrub_.Written(range.disk, range.extent);
}

// One half of the memory for old content: it is read into, and then goes into the journal.
struct Keeper::OldContent {
  struct Piece {
    uint32_t disk;
    Extent extent;
    MutableBytes bytes;
  };
  AlignedBuffer memory;
  uint64_t used_bytes = 0;
  std::vector<Piece> pieces;

  bool Takes(Extent extent) const {
    return used_bytes + AlignedBuffer::RoundUp(extent.length) <= kUndoHalfBytes;
  }
  void Take(uint32_t disk, Extent extent) {
    if (memory.size() == 0) memory = AlignedBuffer::Unwritten(kUndoHalfBytes);
    pieces.push_back({disk, extent, memory.Part(used_bytes, extent.length)});
    used_bytes += AlignedBuffer::RoundUp(extent.length);
  }
  void Clear() {
    pieces.clear();
    used_bytes = 0;
  }
};

std::vector<std::pair<uint32_t, Extent>> Keeper::UnsavedOf(const std::vector<Range>& ranges) const {
  std::vector<std::pair<uint32_t, Extent>> unsaved;
  std::vector<ExtentSet> planned(disks_.size());  // of these, not in the journal yet
  for (const Range& range : ranges) {
    for (const Extent& missing : journal_->Unsaved(range.disk, range.extent)) {
      for (Extent gap : planned[range.disk].Missing(missing)) {
        planned[range.disk].Add(gap);
        while (gap.length > 0) {
          const Extent piece{gap.offset, std::min(gap.length, kReadBytesMax)};
          unsaved.emplace_back(range.disk, piece);
          gap = {piece.end(), gap.length - piece.length};
        }
      }
    }
  }
  return unsaved;
}

absl::Status Keeper::BeginReading(OldContent* old) {
  absl::Status status;
  for (uint32_t disk = 0; disk < disks_.size() && status.ok(); ++disk) {
    std::vector<File::ReadInto> reads;
    for (const OldContent::Piece& piece : old->pieces) {
      if (piece.disk == disk) reads.push_back({piece.extent.offset, piece.bytes});
    }
    if (!reads.empty()) status = disks_[disk].file->BeginReadMany(reads);
  }
  return status;
}

absl::Status Keeper::AwaitReading() {
  absl::Status status;
  for (const ReplicaDisk& disk : disks_) status.Update(disk.file->AwaitReads());
  return status;
}

absl::Status Keeper::Append(const OldContent& old) {
  for (const OldContent::Piece& piece : old.pieces) {
    const bool zeroes = IsZero(piece.bytes);
    absl::MutexLock lock(&journal_mutex_);
    HW_RETURN_IF_ERROR(journal_->AppendUndo(
        {piece.disk, piece.extent, zeroes, zeroes ? absl::string_view() : AsText(piece.bytes)}));
  }
  absl::MutexLock lock(&journal_mutex_);
  journal_->BeginSyncUndo();
  return absl::OkStatus();
}

absl::Status Keeper::SaveOld(const std::vector<Range>& ranges) {
  std::vector<std::pair<uint32_t, Extent>> unsaved;
  {
    absl::MutexLock lock(&journal_mutex_);
    unsaved = UnsavedOf(ranges);
  }
  // While one half goes into the journal, the other is read.
  std::array<OldContent, 2> halves;
  auto next = unsaved.begin();
  const auto begin = [&](OldContent* half) {
    half->Clear();
    for (; next != unsaved.end() && half->Takes(next->second); ++next)
      half->Take(next->first, next->second);
    return BeginReading(half);
  };
  absl::Status status = begin(&halves[0]);
  for (size_t turn = 0; !halves[turn % 2].pieces.empty(); ++turn) {
    status.Update(AwaitReading());
    if (status.ok()) status = begin(&halves[(turn + 1) % 2]);
    if (status.ok()) status = Append(halves[turn % 2]);
    if (!status.ok()) break;
  }
  status.Update(AwaitReading());  // Nothing may be read into memory that goes.
  return status;
}

absl::Status Keeper::WriteRanges(const std::vector<Range>& ranges) {
  // What overlaps is written in its order, the rest at once.
  std::vector<std::vector<File::WriteFrom>> writes(disks_.size());
  std::vector<ExtentSet> under_way(disks_.size());
  const auto flush = [&](uint32_t disk) -> absl::Status {
    if (!writes[disk].empty()) HW_RETURN_IF_ERROR(disks_[disk].file->WriteMany(writes[disk]));
    writes[disk].clear();
    under_way[disk].Clear();
    return absl::OkStatus();
  };
  for (const Range& range : ranges) {
    if (under_way[range.disk].Missing(range.extent) != std::vector<Extent>{range.extent})
      HW_RETURN_IF_ERROR(flush(range.disk));
    if (range.content.empty()) {
      HW_RETURN_IF_ERROR(
          disks_[range.disk].file->WriteZeroes(range.extent.offset, range.extent.length));
      continue;
    }
    writes[range.disk].push_back({range.extent.offset, AsBytes(range.content)});
    under_way[range.disk].Add(range.extent);
  }
  for (uint32_t disk = 0; disk < disks_.size(); ++disk) HW_RETURN_IF_ERROR(flush(disk));
  return absl::OkStatus();
}

absl::Status Keeper::Write(const std::vector<Range>& ranges) {
  if (ranges.empty()) return absl::OkStatus();
  Touch(ranges);
  HW_RETURN_IF_ERROR(SaveAndWrite(ranges, journal_->protecting()));
  NoteWritten(ranges);
  return absl::OkStatus();
}

absl::Status Keeper::SaveAndWrite(const std::vector<Range>& ranges, bool save_old) {
  uint64_t number = 0;
  {
    absl::MutexLock writing(&writing_mutex_);
    if (save_old) {
      HW_RETURN_IF_ERROR(SaveOld(ranges));
      absl::MutexLock lock(&journal_mutex_);
      HW_RETURN_IF_ERROR(journal_->SyncUndo());
    }
    {
      absl::MutexLock lock(&written_mutex_);
      number = ++begun_;
    }
    HW_RETURN_IF_ERROR(WriteRanges(ranges));
    absl::MutexLock lock(&written_mutex_);
    for (const Range& range : ranges) unsynced_[range.disk] = true;
    written_ = number;
  }
  return SyncUpTo(number);
}

absl::Status Keeper::SyncUpTo(uint64_t number) {
  absl::MutexLock syncing(&syncing_mutex_);
  if (number <= failed_up_to_) return failed_;
  if (number <= synced_) return absl::OkStatus();
  uint64_t written = 0;
  std::vector<bool> unsynced(disks_.size());
  {
    absl::MutexLock lock(&written_mutex_);
    written = written_;
    unsynced_.swap(unsynced);
  }
  absl::Status synced;
  for (size_t i = 0; i < disks_.size(); ++i) {
    if (unsynced[i]) synced.Update(disks_[i].file->Sync());
  }
  if (synced.ok()) {
    synced_ = written;
    return synced;
  }
  failed_ = synced;
  absl::MutexLock lock(&written_mutex_);
  failed_up_to_ = begun_;  // Part of what is being written may be what failed.
  return synced;
}

absl::Status Keeper::GoToPoint(absl::string_view point_id) {
  HW_ASSIGN_OR_RETURN(const ReplicaPoint point, journal_->FindPoint(point_id));
  std::vector<ExtentSet> covered(disks_.size());
  // While one group is written, the next one is read.
  const std::array<AlignedBuffer, 2> memories = {AlignedBuffer::Unwritten(kRecoverGroupBytes),
                                                 AlignedBuffer::Unwritten(kRecoverGroupBytes)};
  size_t turn = 0;
  std::unique_ptr<Delivery> written;
  std::vector<Range> staged;
  uint64_t used = 0;
  const auto flush = [&]() -> absl::Status {
    if (staged.empty()) return absl::OkStatus();
    // No two of them overlap.
    absl::c_sort(staged, [](const Range& a, const Range& b) {
      return std::pair(a.disk, a.extent.offset) < std::pair(b.disk, b.extent.offset);
    });
    if (written != nullptr) HW_RETURN_IF_ERROR(written->Await());
    written = Deliver(staged);
    if (written == nullptr) HW_RETURN_IF_ERROR(Write(staged));
    staged.clear();
    used = 0;
    turn = 1 - turn;
    return absl::OkStatus();
  };
  // What is overwritten is saved in the newest delta meanwhile: only ranges that are covered
  // already.
  HW_RETURN_IF_ERROR(journal_->VisitUndo(point.number, [&](const UndoRange& undo) -> absl::Status {
    for (const Extent& piece : covered[undo.disk].Missing(undo.extent)) {
      absl::string_view content;
      if (!undo.zeroes) {
        // Only what is aligned can go past the page cache.
        if (piece.length >= AlignedBuffer::kAlignment) used = AlignedBuffer::RoundUp(used);
        if (used + piece.length > kRecoverGroupBytes) HW_RETURN_IF_ERROR(flush());
        const MutableBytes place = memories[turn].Part(used, piece.length);
        std::memcpy(place.data(), undo.content.data() + (piece.offset - undo.extent.offset),
                    piece.length);
        content = AsText(place);
        used += piece.length;
      }
      staged.push_back({undo.disk, piece, content});
    }
    covered[undo.disk].Add(undo.extent);
    return staged.size() >= recover_ranges_max_ ? flush() : absl::OkStatus();
  }));
  HW_RETURN_IF_ERROR(flush());
  if (written != nullptr) HW_RETURN_IF_ERROR(written->Await());
  return journal_->CommitRecovered(point_id);
}

absl::StatusOr<std::vector<uint32_t>> Keeper::Differing(uint32_t disk, uint64_t offset,
                                                        uint64_t block_bytes,
                                                        const std::vector<std::string>& digests) {
  if (disk >= disks_.size() || block_bytes == 0 || block_bytes % kSectorBytes != 0 ||
      block_bytes > kBatchPayloadBytesMax || digests.size() > kBatchExtentsMax ||
      offset > disks_[disk].size_bytes) {
    return absl::InvalidArgumentError("digest query out of bounds");
  }
  const uint64_t end = offset + digests.size() * block_bytes;
  if (!digests.empty() && end - block_bytes >= disks_[disk].size_bytes)
    return absl::InvalidArgumentError("digest query past the end");
  std::vector<uint32_t> differing;
  // Whole blocks, and many reads at once.
  const uint64_t step = std::max(kDigestReadBytes / block_bytes, uint64_t{1}) * block_bytes;
  const AlignedBuffer content = AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(step));
  for (uint64_t at = offset, index = 0; at < std::min(end, disks_[disk].size_bytes); at += step) {
    const uint64_t length = std::min({step, end - at, disks_[disk].size_bytes - at});
    std::vector<File::ReadInto> reads;
    for (uint64_t done = 0; done < length; done += kReadBytesMax) {
      reads.push_back({at + done, content.Part(done, std::min(kReadBytesMax, length - done))});
    }
    HW_RETURN_IF_ERROR(disks_[disk].file->ReadMany(reads));
    for (uint64_t done = 0; done < length; done += block_bytes, ++index) {
      const MutableBytes block = content.Part(done, std::min(block_bytes, length - done));
      if (Digest128(block) != digests[index]) differing.push_back(static_cast<uint32_t>(index));
    }
  }
  return differing;
}

}  // namespace homeward
