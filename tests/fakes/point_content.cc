#include "tests/fakes/point_content.h"

#include "common/status/status_macros.h"

namespace homeward {

absl::StatusOr<std::vector<std::string>> PointContent(const Keeper& keeper,
                                                      absl::string_view point_id) {
  HW_ASSIGN_OR_RETURN(const ReplicaPoint point, keeper.journal_->FindPoint(point_id));
  std::vector<std::string> content;
  for (const ReplicaDisk& disk : keeper.disks_) {
    content.emplace_back(disk.size_bytes, '\0');
    HW_RETURN_IF_ERROR(disk.file->Read(0, Writable(&content.back())));
  }
  // Oldest first: of several records of a block the first one counts.
  std::vector<ExtentSet> covered(content.size());
  HW_RETURN_IF_ERROR(keeper.journal_->VisitUndo(point.number, [&](const UndoRange& undo) {
    for (const Extent& piece : covered[undo.disk].Missing(undo.extent)) {
      if (undo.zeroes) {
        content[undo.disk].replace(piece.offset, piece.length, piece.length, '\0');
      } else {
        content[undo.disk].replace(piece.offset, piece.length,
                                   undo.content.data() + (piece.offset - undo.extent.offset),
                                   piece.length);
      }
    }
    covered[undo.disk].Add(undo.extent);
    return absl::OkStatus();
  }));
  return content;
}

}  // namespace homeward
