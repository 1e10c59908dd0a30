#include "master_target/keeper/keeper.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "absl/algorithm/container.h"
#include "common/base/aligned_buffer.h"
#include "common/base/check.h"
#include "common/fault/fault.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr uint64_t kReadBytesMax = kMiB;  // at once, and of one undo record
constexpr uint64_t kDigestReadBytes = 4 * kMiB;
constexpr uint64_t kUndoHalfBytes = 2 * kMiB;  // of old content in memory
constexpr uint64_t kRecoverGroupBytes = 16 * kMiB;
constexpr size_t kRecoverRangesMax = 4096;

}  // namespace

Keeper::Keeper(std::unique_ptr<RecoveryJournal> journal, std::vector<ReplicaDisk> disks)
    : journal_(std::move(journal)),
      disks_(std::move(disks)),
      scrub_(disks_.size()),
      generation_(journal_->state().generation) {}

absl::StatusOr<std::unique_ptr<Keeper>> Keeper::Open(FileSystem& files,
                                                     const std::string& journal_directory,
                                                     std::vector<ReplicaDisk> disks) {
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
                      RecoveryJournal::Open(files, journal_directory, std::move(disk_bytes)));
  return std::unique_ptr<Keeper>(new Keeper(std::move(journal), std::move(disks)));
}

absl::Status Keeper::Fence(uint64_t generation) {
  if (generation <= generation_) return absl::OkStatus();
  KeeperState state = journal_->state();
  state.generation = generation;
  if (!journal_->recovered_point().empty()) {
    // A state record would end the recovered state; the fence holds in memory until the next epoch.
    generation_ = generation;
    return absl::OkStatus();
  }
  HW_RETURN_IF_ERROR(journal_->CommitState(state));
  generation_ = generation;
  return absl::OkStatus();
}

absl::Status Keeper::CheckGeneration(const BatchHeader& header) const {
  if (header.generation < generation_ && !HW_FAULT("mutation.ignore_generation")) {
    return absl::AbortedError(absl::StrCat("generation ", header.generation,
                                           " is over; the machine is at ", generation_));
  }
  return absl::OkStatus();
}

absl::Status Keeper::CheckExtents(const ParsedBatch& batch) const {
  for (const BatchExtent& extent : batch.extents) {
    if (extent.disk >= disks_.size()) {
      return absl::DataLossError(absl::StrCat("position ", batch.header.position.ToString(),
                                              " names disk ", extent.disk, " of ", disks_.size()));
    }
    if (extent.extent.end() > disks_[extent.disk].size_bytes) {
      return absl::DataLossError(absl::StrCat(
          "position ", batch.header.position.ToString(), " writes up to byte ", extent.extent.end(),
          " of disk ", extent.disk, ", which has ", disks_[extent.disk].size_bytes));
    }
  }
  return absl::OkStatus();
}

absl::Status Keeper::BeginEpoch(const ParsedBatch& batch, KeeperState* next) {
  HW_ASSIGN_OR_RETURN(const EpochBegin begin, ParseEpochBegin(batch));
  if (begin.fresh_replica && !next->position.none()) {
    return absl::DataLossError(
        "the sender takes this replica to be empty, and it is not: compare all of it");
  }
  if (begin.continues_from.none()) {
    next->syncing = true;
    return absl::OkStatus();
  }
  if (!journal_->recovered_point().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the replica was recovered to point ", journal_->recovered_point()));
  }
  const uint64_t ours = next->position.epoch;
  const bool known = !begin.begun.has_value() || ours == begin.continues_from.epoch ||
                     absl::c_linear_search(*begin.begun, ours);
  if (!known && !HW_FAULT("mutation.believe_a_set_back_agent")) {
    return absl::DataLossError(
        absl::StrCat("this replica follows epoch ", ours,
                     ", which the agent does not know: it was set back, as to a snapshot"));
  }
  // Every epoch up to ours was checked like this one, so a position that is not smaller holds all
  // of it.
  if (next->position < begin.continues_from) {
    return absl::DataLossError(absl::StrCat("epoch ", batch.header.position.epoch,
                                            " continues from ", begin.continues_from.ToString(),
                                            ", this replica holds ", next->position.ToString()));
  }
  return absl::OkStatus();
}

absl::Status Keeper::ApplyOne(const ParsedBatch& batch, KeeperState* next,
                              std::vector<Staged>* staged) {
  switch (batch.header.kind) {
    case BatchKind::kEpochBegin:
      HW_RETURN_IF_ERROR(BeginEpoch(batch, next));
      // Durable before anything of this epoch touches the replica. Otherwise a crash could leave
      // writes of this epoch under a position of the last one, and an old process server that still
      // forwards that one would be believed.
      HW_RETURN_IF_ERROR(WriteProtected(*staged));
      staged->clear();
      next->position = batch.header.position;
      next->generation = std::max(generation_, batch.header.generation);
      return HW_FAULT("mutation.epoch_without_fence") ? absl::OkStatus()
                                                      : journal_->CommitState(*next);
    case BatchKind::kWrites:
    case BatchKind::kSyncChunk: {
      HW_RETURN_IF_ERROR(CheckExtents(batch));
      size_t at = 0;
      for (const BatchExtent& extent : batch.extents) {
        const size_t length = extent.zeroes ? 0 : extent.extent.length;
        staged->push_back({extent.disk, extent.extent, batch.payload.substr(at, length)});
        at += length;
      }
      break;
    }
    case BatchKind::kSyncEnd:
      next->syncing = false;
      break;
    case BatchKind::kMarker: {
      if (next->syncing) {
        return absl::FailedPreconditionError("a marker in the middle of a synchronisation");
      }
      HW_ASSIGN_OR_RETURN(const Marker marker, ParseMarker(batch));
      next->position = batch.header.position;
      next->generation = std::max(generation_, batch.header.generation);
      if (!HW_FAULT("mutation.drop_marker_barrier")) {
        HW_RETURN_IF_ERROR(WriteProtected(*staged));
        staged->clear();
      }
      return journal_->MakePoint(marker, *next);
    }
  }
  next->position = batch.header.position;
  next->generation = std::max(generation_, batch.header.generation);
  return absl::OkStatus();
}

absl::Status Keeper::Apply(const std::vector<absl::string_view>& sealed_batches) {
  KeeperState next = journal_->state();
  std::vector<Staged> staged;
  std::deque<ParsedBatch> batches;  // staged content points into them
  absl::Status refused;
  for (const absl::string_view sealed : sealed_batches) {
    ParsedBatch& batch = batches.emplace_back();
    refused = ParseBatch(sealed, true, &batch);
    if (refused.ok()) refused = CheckGeneration(batch.header);
    if (!refused.ok()) break;
    const StreamPosition position = batch.header.position;
    if (position <= next.position && !HW_FAULT("mutation.apply_duplicates")) continue;
    const bool begins_anew =
        batch.header.kind == BatchKind::kEpochBegin && position > next.position;
    if (!begins_anew && !next.position.MayPrecede(position) && position > next.position) {
      refused = absl::OutOfRangeError(absl::StrCat("position ", position.ToString(),
                                                   " does not follow ", next.position.ToString()));
      break;
    }
    if (!journal_->recovered_point().empty() && batch.header.kind != BatchKind::kEpochBegin &&
        position.epoch == journal_->state().position.epoch) {
      refused = absl::FailedPreconditionError(
          absl::StrCat("the replica was recovered to point ", journal_->recovered_point()));
      break;
    }
    refused = ApplyOne(batch, &next, &staged);
    if (!refused.ok()) break;
  }
  // What came before the refused batch is good and is kept, unless a volume failed.
  if (!refused.ok() && !absl::IsAborted(refused) && !absl::IsDataLoss(refused) &&
      !absl::IsOutOfRange(refused) && !absl::IsFailedPrecondition(refused)) {
    return refused;
  }
  if (HW_FAULT("mutation.acknowledge_before_sync")) HW_RETURN_IF_ERROR(journal_->CommitState(next));
  HW_RETURN_IF_ERROR(WriteProtected(staged));
  if (next.position != journal_->state().position) HW_RETURN_IF_ERROR(journal_->CommitState(next));
  generation_ = std::max(generation_, journal_->state().generation);
  return refused;
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

std::vector<std::pair<uint32_t, Extent>> Keeper::UnsavedOf(
    const std::vector<Staged>& staged) const {
  std::vector<std::pair<uint32_t, Extent>> unsaved;
  std::vector<ExtentSet> planned(disks_.size());  // of these, not in the journal yet
  for (const Staged& range : staged) {
    if (range.content.empty() && HW_FAULT("mutation.zeroes_without_undo")) continue;
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
    HW_RETURN_IF_ERROR(journal_->AppendUndo(
        {piece.disk, piece.extent, zeroes, zeroes ? absl::string_view() : AsText(piece.bytes)}));
  }
  journal_->BeginSyncUndo();
  return absl::OkStatus();
}

absl::Status Keeper::SaveOld(const std::vector<Staged>& staged) {
  const std::vector<std::pair<uint32_t, Extent>> unsaved = UnsavedOf(staged);
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

absl::Status Keeper::WriteStaged(const std::vector<Staged>& staged) {
  // What overlaps is written in its order, the rest at once.
  std::vector<std::vector<File::WriteFrom>> writes(disks_.size());
  std::vector<ExtentSet> under_way(disks_.size());
  const auto flush = [&](uint32_t disk) -> absl::Status {
    if (!writes[disk].empty()) HW_RETURN_IF_ERROR(disks_[disk].file->WriteMany(writes[disk]));
    writes[disk].clear();
    under_way[disk].Clear();
    return absl::OkStatus();
  };
  for (const Staged& range : staged) {
    scrub_.Touched(range.disk, range.extent);
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

absl::Status Keeper::WriteProtected(const std::vector<Staged>& staged) {
  if (staged.empty()) return absl::OkStatus();
  if (journal_->protecting()) {
    HW_RETURN_IF_ERROR(SaveOld(staged));
    HW_RETURN_IF_ERROR(journal_->SyncUndo());
  }
  HW_RETURN_IF_ERROR(WriteStaged(staged));
  std::vector<bool> touched(disks_.size());
  for (const Staged& range : staged) touched[range.disk] = true;
  for (size_t i = 0; i < disks_.size(); ++i) {
    if (touched[i]) HW_RETURN_IF_ERROR(disks_[i].file->Sync());
  }
  return absl::OkStatus();
}

absl::Status Keeper::RecoverTo(absl::string_view point_id) {
  HW_ASSIGN_OR_RETURN(const RecoveryJournal::Point point, journal_->FindPoint(point_id));
  std::vector<ExtentSet> covered(disks_.size());
  std::vector<Staged> staged;
  const AlignedBuffer memory = AlignedBuffer::Unwritten(kRecoverGroupBytes);
  uint64_t used = 0;
  const auto flush = [&]() -> absl::Status {
    HW_RETURN_IF_ERROR(WriteProtected(staged));
    staged.clear();
    used = 0;
    return absl::OkStatus();
  };
  // Flushing appends to the newest delta while it is visited. That adds only ranges that are
  // covered already.
  HW_RETURN_IF_ERROR(journal_->VisitUndo(
      point.delta_number, [&](const UndoRange& undo, UndoPlace) -> absl::Status {
        const std::vector<Extent> pieces = HW_FAULT("mutation.rewind_to_newest")
                                               ? std::vector<Extent>{undo.extent}
                                               : covered[undo.disk].Missing(undo.extent);
        for (const Extent& piece : pieces) {
          absl::string_view content;
          if (!undo.zeroes) {
            // Only what is aligned can go past the page cache.
            if (piece.length >= AlignedBuffer::kAlignment) used = AlignedBuffer::RoundUp(used);
            if (used + piece.length > kRecoverGroupBytes) HW_RETURN_IF_ERROR(flush());
            const MutableBytes place = memory.Part(used, piece.length);
            std::memcpy(place.data(), undo.content.data() + (piece.offset - undo.extent.offset),
                        piece.length);
            content = AsText(place);
            used += piece.length;
          }
          staged.push_back({undo.disk, piece, content});
        }
        covered[undo.disk].Add(undo.extent);
        return staged.size() >= kRecoverRangesMax ? flush() : absl::OkStatus();
      }));
  HW_RETURN_IF_ERROR(flush());
  return journal_->CommitRecovered(point_id);
}

absl::StatusOr<PointView> Keeper::View(absl::string_view point_id) const {
  HW_ASSIGN_OR_RETURN(const RecoveryJournal::Point point, journal_->FindPoint(point_id));
  PointView view;
  view.journal_ = journal_.get();
  view.disks_ = &disks_;
  view.pieces_.resize(disks_.size());
  std::vector<ExtentSet> covered(disks_.size());
  HW_RETURN_IF_ERROR(journal_->VisitUndo(point.delta_number, [&](const UndoRange& undo,
                                                                 UndoPlace place) {
    for (const Extent& piece : covered[undo.disk].Missing(undo.extent)) {
      view.pieces_[undo.disk].emplace(
          piece.offset, PointView::Piece{piece.length, place, piece.offset - undo.extent.offset});
    }
    covered[undo.disk].Add(undo.extent);
    return absl::OkStatus();
  }));
  return view;
}

absl::Status PointView::Read(uint32_t disk, uint64_t offset, MutableBytes out) const {
  HW_CHECK(disk < pieces_.size());
  HW_RETURN_IF_ERROR((*disks_)[disk].file->Read(offset, out));
  const uint64_t end = offset + out.size();
  const auto& pieces = pieces_[disk];
  auto it = pieces.upper_bound(offset);
  if (it != pieces.begin()) --it;
  std::string body;
  for (; it != pieces.end() && it->first < end; ++it) {
    const Piece& piece = it->second;
    const uint64_t low = std::max(offset, it->first);
    const uint64_t high = std::min(end, it->first + piece.length);
    if (low >= high) continue;
    UndoRange undo;
    HW_RETURN_IF_ERROR(journal_->ReadUndo(piece.place, &body, &undo));
    uint8_t* const to = out.data() + (low - offset);
    if (undo.zeroes) {
      std::memset(to, 0, high - low);
    } else {
      std::memcpy(to, undo.content.data() + piece.skip_bytes + (low - it->first), high - low);
    }
  }
  return absl::OkStatus();
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

absl::StatusOr<std::vector<Marker>> Keeper::Retain(const RetentionPolicy& policy, absl::Time now) {
  std::vector<Marker> dropped;
  const auto is_instant = [](const RecoveryJournal::Point& point) {
    return point.marker.consistency != Consistency::kNotOneInstant;
  };
  // The last point that can be trusted is worth more than its age.
  const auto precious = [&] {
    return is_instant(points().front()) &&
           std::none_of(points().begin() + 1, points().end(), is_instant);
  };
  while (points().size() > 1 &&
         ((now - points().front().marker.time > policy.age_max && !precious()) ||
          journal_->size_bytes() > policy.bytes_max || HW_FAULT("mutation.keep_only_the_newest"))) {
    dropped.push_back(points().front().marker);
    HW_RETURN_IF_ERROR(journal_->DropOldestPoint());
  }
  return dropped;
}

}  // namespace homeward
