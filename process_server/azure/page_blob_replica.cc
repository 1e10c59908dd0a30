#include "process_server/azure/page_blob_replica.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "process_server/azure/vhd_footer.h"

namespace homeward {

using azure::BlobProperties;

uint64_t BlobBytes(const PageBlobReplica::Disk& disk) {
  return VhdDiskBytes(disk.bytes) + kVhdFooterBytes;
}

absl::StatusOr<PageBlobContents> ListReplica(azure::PageBlobs& blobs,
                                             const PageBlobReplica& replica) {
  HW_ASSIGN_OR_RETURN(const std::vector<BlobProperties> listed,
                      blobs.List(absl::StrCat(replica.machine_id, "/")));
  PageBlobContents contents;
  contents.blobs.resize(replica.disks.size());
  struct Group {
    PointTag tag;
    std::vector<std::string> ids;
    std::vector<const BlobProperties*> parts;
  };
  std::map<std::pair<uint64_t, std::string>, Group> groups;  // by number and id of the point
  for (const BlobProperties& found : listed) {
    const auto disk =
        std::find_if(replica.disks.begin(), replica.disks.end(),
                     [&](const PageBlobReplica::Disk& one) { return one.blob == found.name; });
    if (disk == replica.disks.end()) continue;
    const size_t index = static_cast<size_t>(disk - replica.disks.begin());
    if (found.snapshot.empty()) {
      contents.blobs[index] = found;
      continue;
    }
    // Somebody's own, as of a backup: it has the blob's metadata, if it has any of ours.
    if (!found.metadata.contains("hw_replica") || !found.metadata.contains("hw_point")) continue;
    absl::StatusOr<PointTag> tag = DecodePoint(found.metadata);
    if (!tag.ok()) {
      return Annotate(tag.status(),
                      absl::StrCat("snapshot ", found.snapshot, " of blob ", found.name));
    }
    if (tag->replica_id != replica.replica_id) {
      contents.orphans.push_back(found);
      continue;
    }
    Group& group = groups[{tag->point.number, tag->point.marker.id}];
    group.ids.resize(replica.disks.size());
    if (!group.ids[index].empty()) {
      contents.orphans.push_back(found);
      continue;
    }
    group.tag = *std::move(tag);
    group.ids[index] = found.snapshot;
    group.parts.push_back(&found);
  }
  for (const auto& [point, group] : groups) {
    contents.newest = std::max(contents.newest, point.first);
    if (group.parts.size() < replica.disks.size()) {
      for (const BlobProperties* part : group.parts) contents.parts.push_back({point.first, *part});
      continue;
    }
    contents.points.push_back(group.tag.point);
    contents.snapshots.push_back({group.ids, group.tag.state, group.tag.written_bytes});
  }
  return contents;
}

void ReleaseLeases(azure::PageBlobs& blobs, const PageBlobReplica& replica,
                   const std::string& lease_id) {
  for (auto disk = replica.disks.rbegin(); disk != replica.disks.rend(); ++disk) {
    const absl::Status released = blobs.ReleaseLease(disk->blob, lease_id);
    if (!released.ok() && !absl::IsAborted(released)) return;
  }
}

absl::Status LostTo(const std::string& whom) {
  return absl::CancelledError(
      absl::StrCat("the replica is not this process server's any more: ", whom));
}

}  // namespace homeward
