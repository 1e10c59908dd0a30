#include "common/azure/page_blobs.h"

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward::azure {
namespace {

constexpr size_t kBlobNameBytesMax = 1024;

bool IsMetadataName(absl::string_view name) {
  return !name.empty() && !absl::ascii_isdigit(name[0]) && absl::c_all_of(name, [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
  });
}

bool IsMetadataValue(absl::string_view value) {
  return !value.empty() && value.front() != ' ' && value.back() != ' ' &&
         absl::c_all_of(value, [](char c) { return absl::ascii_isprint(c); });
}

}  // namespace

absl::Status CheckBlobName(absl::string_view name) {
  const bool ends_well = !name.empty() && name.back() != '.' && name.back() != '/';
  const bool characters = absl::c_all_of(name, [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
  });
  if (ends_well && characters && name.front() != '/' && name.size() <= kBlobNameBytesMax &&
      name.find("//") == name.npos && name.find("./") == name.npos)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" cannot name a blob: use parts of letters, digits, '-', '_' and ",
                   "'.', with '/' between them, at most ", kBlobNameBytesMax, " bytes"));
}

absl::Status CheckMetadata(const Metadata& metadata) {
  size_t bytes = 0;
  for (const auto& [name, value] : metadata) {
    bytes += name.size() + value.size();
    if (!IsMetadataName(name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", name, "\" cannot name metadata: use lower-case letters, digits and '_'"));
    }
    if (!IsMetadataValue(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the metadata ", name,
                       " has a value that is empty, begins or ends with a space, or is not of "
                       "printable ASCII: encode it"));
    }
  }
  if (bytes <= kMetadataBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("metadata of ", bytes, " bytes, and a blob can have ", kMetadataBytesMax));
}

absl::Status CheckBlobBytes(uint64_t bytes) {
  if (bytes % kPageBytes == 0 && bytes <= kPageBlobBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a page blob cannot have ", bytes,
                                                 " bytes: whole pages of ", kPageBytes,
                                                 ", at most ", kPageBlobBytesMax));
}

absl::Status CheckWrites(const std::vector<PageWrite>& writes) {
  for (const PageWrite& write : writes) {
    HW_RETURN_IF_ERROR(CheckBlobName(write.blob));
    const bool pages = write.offset % kPageBytes == 0 && write.bytes % kPageBytes == 0;
    const bool inside =
        write.bytes <= kPageBlobBytesMax && write.offset <= kPageBlobBytesMax - write.bytes;
    const bool whole = write.content.empty() || write.content.size() == write.bytes;
    if (pages && inside && whole && write.bytes > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(write.blob, ": a write of ", write.bytes, " bytes at ", write.offset, " with ",
                     write.content.size(), " bytes of content: whole pages of ", kPageBytes,
                     " are written, with all their content or none"));
  }
  return absl::OkStatus();
}

}  // namespace homeward::azure
