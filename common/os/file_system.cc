#include "common/os/file_system.h"

#include "absl/strings/strip.h"
#include "common/status/status_macros.h"

namespace homeward {

absl::Status File::ReadMany(absl::Span<const ReadInto> reads) {
  for (const ReadInto& read : reads) HW_RETURN_IF_ERROR(Read(read.offset, read.out));
  return absl::OkStatus();
}

absl::Status File::WriteMany(absl::Span<const WriteFrom> writes) {
  for (const WriteFrom& write : writes) HW_RETURN_IF_ERROR(Write(write.offset, write.bytes));
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(FileSystem& files, const std::string& path,
                                 absl::string_view content) {
  const std::string temporary = absl::StrCat(path, ".new");
  {
    HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(temporary, OpenMode::kCreate));
    HW_RETURN_IF_ERROR(file->Truncate(0));
    HW_RETURN_IF_ERROR(file->Write(0, AsBytes(content)));
    HW_RETURN_IF_ERROR(file->Sync());
  }
  HW_RETURN_IF_ERROR(files.Rename(temporary, path));
  return files.SyncDirectory(ParentDirectory(path));
}

absl::StatusOr<std::string> ReadWholeFile(FileSystem& files, const std::string& path,
                                          uint64_t size_max_bytes) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kReadOnly));
  HW_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > size_max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, " has ", size, " bytes, more than the ", size_max_bytes, " allowed"));
  }
  std::string content(size, '\0');
  HW_RETURN_IF_ERROR(
      file->Read(0, MutableBytes(reinterpret_cast<uint8_t*>(content.data()), content.size())));
  return content;
}

std::string JoinPath(absl::string_view directory, absl::string_view name) {
  return absl::StrCat(absl::StripSuffix(directory, "/"), "/", name);
}

std::string ParentDirectory(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

}  // namespace homeward
