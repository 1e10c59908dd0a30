#include "master_target/keeper/scrub.h"

#include <algorithm>

#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {

void Scrub::Touched(uint32_t disk, Extent extent) {
  for (uint64_t block = extent.offset / kBlockBytes; block * kBlockBytes < extent.end(); ++block)
    digests_[disk].erase(block);
}

void Scrub::Written(uint32_t disk, Extent extent) { damaged_[disk].Remove(extent); }

absl::StatusOr<bool> Scrub::Step(const RecoveryJournal& journal,
                                 const std::vector<ReplicaDisk>& disks, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    if (in_journal_) {
      HW_ASSIGN_OR_RETURN(const uint64_t read, StepJournal(journal, bytes - done));
      done += read;
      in_journal_ = read > 0;
      continue;
    }
    HW_ASSIGN_OR_RETURN(const uint64_t read, StepReplica(disks, bytes - done));
    done += read;
    if (disk_ < disks.size()) continue;
    disk_ = 0;
    in_journal_ = true;
    journal_at_ = {};
    return true;
  }
  return false;
}

absl::StatusOr<uint64_t> Scrub::StepJournal(const RecoveryJournal& journal, uint64_t bytes) {
  if (journal_at_.delta_number == 0) journal_damage_ = absl::OkStatus();
  const absl::StatusOr<uint64_t> read = journal.Verify(bytes, &journal_at_);
  if (read.ok()) return read;
  journal_damage_ = absl::DataLossError(read.status().message());
  return 0;  // One is enough; the next pass begins anew.
}

absl::StatusOr<uint64_t> Scrub::StepReplica(const std::vector<ReplicaDisk>& disks, uint64_t bytes) {
  const ReplicaDisk& disk = disks[disk_];
  HW_ASSIGN_OR_RETURN(const uint64_t data, disk.file->NextData(offset_));
  offset_ = std::max(offset_, data / kBlockBytes * kBlockBytes);
  if (offset_ >= disk.size_bytes) {
    ++disk_;
    offset_ = 0;
    return 0;
  }
  const uint64_t block = offset_ / kBlockBytes;
  const uint64_t length = std::min(kBlockBytes, disk.size_bytes - offset_);
  const AlignedBuffer content = AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(length));
  offset_ += length;
  if (!disk.file->ReadMany({{{block * kBlockBytes, content.Part(0, length)}}}).ok()) {
    damaged_[disk_].Add({block * kBlockBytes, length});
    return std::min(length, bytes);
  }
  const uint64_t digest = Checksum64(content.Part(0, length));
  const auto [noted, is_new] = digests_[disk_].emplace(block, digest);
  if (!is_new && noted->second != digest) {
    damaged_[disk_].Add({block * kBlockBytes, length});
    noted->second = digest;
  }
  return std::min(length, bytes);
}

absl::Status Scrub::damage() const {
  for (size_t disk = 0; disk < damaged_.size(); ++disk) {
    if (damaged_[disk].empty()) continue;
    const std::vector<Extent> ranges = damaged_[disk].Ranges();
    return absl::DataLossError(absl::StrCat(
        "disk ", disk, " of the replica changed by itself, or cannot be read, between bytes ",
        ranges.front().offset, " and ", ranges.front().end(),
        ranges.size() > 1 ? ", and elsewhere" : "", "; older points may be wrong there"));
  }
  return journal_damage_;
}

}  // namespace homeward
