#include "master_target/host/retention_volume.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/limits.h"
#include "common/os/volume.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr size_t kMachineCharacters = 32;
constexpr char kProbe[] = "prepare-retention";

// A replica's: its machine's id, a dash, and the number of a job.
bool IsReplica(const std::string& name) {
  return name.size() > kMachineCharacters + 1 && name[kMachineCharacters] == '-' &&
         std::all_of(name.begin(), name.begin() + kMachineCharacters,
                     [](unsigned char c) { return absl::ascii_isxdigit(c); }) &&
         std::all_of(name.begin() + kMachineCharacters + 1, name.end(),
                     [](unsigned char c) { return absl::ascii_isdigit(c); });
}

bool IsFat(const std::string& file_system) {
  return file_system == "vfat" || file_system == "msdos" || file_system == "exfat";
}

}  // namespace

absl::Status CheckRetentionVolume(FileSystem& files, const std::string& directory) {
  HW_ASSIGN_OR_RETURN(const VolumeFacts facts, ReadVolumeFacts(directory));
  if (IsFat(facts.file_system)) {
    return absl::FailedPreconditionError(absl::StrCat(
        directory, " is on ", facts.file_system,
        ", which keeps no file over 4 GiB and nothing through a crash; use ext4 or xfs"));
  }
  HW_ASSIGN_OR_RETURN(const VolumeSpace space, files.Space(directory));
  if (space.total_bytes == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " is on a volume of no size (", facts.file_system, ")"));
  }
  if (!HasRoomForPoints(space.free_bytes, space.total_bytes)) {
    return absl::FailedPreconditionError(absl::StrCat(directory, " has ", space.free_bytes, " of ",
                                                      space.total_bytes, " bytes free"));
  }
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(directory));
  for (const std::string& name : names) {
    if (name == "lost+found" || name == kProbe || IsReplica(name)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(directory, " is in use by something else: ", name));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PrepareRetentionVolume(FileSystem& files,
                                                   const std::string& directory) {
  HW_RETURN_IF_ERROR(files.MakeDirectories(directory));
  HW_RETURN_IF_ERROR(CheckRetentionVolume(files, directory));
  const std::string probe = JoinPath(directory, kProbe);
  HW_RETURN_IF_ERROR(WriteFileAtomically(files, probe, std::string(kMiB, 'x')));
  HW_RETURN_IF_ERROR(files.Remove(probe));
  HW_RETURN_IF_ERROR(files.SyncDirectory(directory));
  HW_ASSIGN_OR_RETURN(const VolumeFacts facts, ReadVolumeFacts(directory));
  HW_ASSIGN_OR_RETURN(const VolumeSpace space, files.Space(directory));
  std::string told =
      absl::StrCat(directory, ": ", facts.file_system, ", ", space.free_bytes / kMiB, " of ",
                   space.total_bytes / kMiB, " MiB free; recovery points can be kept here\n");
  if (facts.is_system) {
    absl::StrAppend(
        &told,
        "It is on the system's own volume: when points fill it, the system stands. Give it "
        "a volume of its own.\n");
  }
  return told;
}

}  // namespace homeward
