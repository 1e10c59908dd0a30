#include "common/vmdk/vmdk.h"

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/limits.h"
#include "common/base/name.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

struct Geometry {
  uint64_t cylinders, heads, sectors;
};

Geometry GeometryOf(uint64_t size_bytes) {
  Geometry geometry{0, 255, 63};
  if (size_bytes <= kGiB) geometry = {0, 64, 32};
  const uint64_t cylinder_sectors = geometry.heads * geometry.sectors;
  geometry.cylinders = std::clamp<uint64_t>(size_bytes / kSectorBytes / cylinder_sectors, 1, 65535);
  return geometry;
}

// "6000c29a b1..." as VMware writes it: bytes apart, a dash in the middle.
std::string SpellUuid(absl::string_view uuid) {
  std::string out;
  for (size_t i = 0; i + 1 < uuid.size(); i += 2) {
    if (i > 0) out += i == 16 ? '-' : ' ';
    out.append(uuid.data() + i, 2);
  }
  return out;
}

absl::Status CheckReadsBack(const VmdkDescriptor& descriptor) {
  const absl::StatusOr<VmdkDescriptor> read = ParseVmdkDescriptor(FormatVmdkDescriptor(descriptor));
  if (!read.ok()) return read.status();
  if (read->flat_name == descriptor.flat_name && read->uuid == descriptor.uuid &&
      read->size_bytes == descriptor.size_bytes && read->content_id == descriptor.content_id) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("it would be taken for another one");
}

}  // namespace

std::string FormatVmdkDescriptor(const VmdkDescriptor& descriptor) {
  const Geometry geometry = GeometryOf(descriptor.size_bytes);
  return absl::StrFormat(
      "# Disk DescriptorFile\n"
      "version=1\n"
      "encoding=\"UTF-8\"\n"
      "CID=%08x\n"
      "parentCID=ffffffff\n"
      "createType=\"vmfs\"\n"
      "\n"
      "# Extent description\n"
      "RW %d VMFS \"%s\"\n"
      "\n"
      "# The Disk Data Base\n"
      "#DDB\n"
      "\n"
      "ddb.adapterType = \"lsilogic\"\n"
      "ddb.geometry.cylinders = \"%d\"\n"
      "ddb.geometry.heads = \"%d\"\n"
      "ddb.geometry.sectors = \"%d\"\n"
      "ddb.uuid = \"%s\"\n"
      "ddb.virtualHWVersion = \"13\"\n",
      descriptor.content_id, descriptor.size_bytes / kSectorBytes, descriptor.flat_name,
      geometry.cylinders, geometry.heads, geometry.sectors, SpellUuid(descriptor.uuid));
}

absl::Status CheckVmdkName(const std::string& name) {
  const std::string wrong = WrongInName(name, kDirectoryBytesMax);
  if (!wrong.empty()) return absl::InvalidArgumentError(wrong);
  const absl::Status reads_back = CheckReadsBack({.size_bytes = kSectorBytes,
                                                  .content_id = 1,
                                                  .uuid = std::string(32, 'a'),
                                                  .flat_name = absl::StrCat(name, "-flat.vmdk")});
  if (reads_back.ok()) return reads_back;
  return absl::InvalidArgumentError(
      absl::StrCat("has no place in a VMDK descriptor: ", reads_back.message()));
}

absl::StatusOr<VmdkDescriptor> ParseVmdkDescriptor(absl::string_view text) {
  VmdkDescriptor descriptor;
  bool has_magic = false, has_cid = false;
  std::string create_type;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line == "# Disk DescriptorFile") has_magic = true;
    if (line.empty() || line[0] == '#') continue;
    if (absl::StartsWith(line, "RW ")) {
      if (!descriptor.flat_name.empty()) {
        return absl::InvalidArgumentError("VMDK descriptor: more than one extent");
      }
      const std::vector<absl::string_view> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
      uint64_t sectors = 0;
      if (words.size() != 4 || !absl::SimpleAtoi(words[1], &sectors) ||
          sectors > kVmdkBytesMax / kSectorBytes || (words[2] != "VMFS" && words[2] != "FLAT")) {
        return absl::InvalidArgumentError(absl::StrCat(
            "VMDK descriptor: not a flat extent of at most ", kVmdkTebibytesMax, " TiB: ", line));
      }
      descriptor.size_bytes = sectors * kSectorBytes;
      const std::vector<absl::string_view> quoted = absl::StrSplit(words[3], '"');
      if (quoted.size() < 3 || quoted[1].empty() || absl::StrContains(quoted[1], "/")) {
        return absl::InvalidArgumentError(
            absl::StrCat("VMDK descriptor: the extent names no file beside it: ", line));
      }
      descriptor.flat_name = std::string(quoted[1]);
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> entry =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    const absl::string_view key = absl::StripAsciiWhitespace(entry.first);
    const std::string value =
        absl::StrReplaceAll(absl::StripAsciiWhitespace(entry.second), {{"\"", ""}});
    if (key == "CID") has_cid = absl::SimpleHexAtoi(value, &descriptor.content_id);
    if (key == "createType") create_type = value;
    if (key == "ddb.uuid") descriptor.uuid = absl::StrReplaceAll(value, {{" ", ""}, {"-", ""}});
  }
  if (!has_magic)
    return absl::InvalidArgumentError("VMDK descriptor: no '# Disk DescriptorFile' line");
  if (!has_cid) return absl::InvalidArgumentError("VMDK descriptor: no CID line");
  if (create_type != "vmfs" && create_type != "monolithicFlat") {
    return absl::InvalidArgumentError(
        absl::StrCat("VMDK descriptor: createType \"", create_type, "\" is not a flat disk"));
  }
  if (descriptor.flat_name.empty())
    return absl::InvalidArgumentError("VMDK descriptor: no extent line");
  return descriptor;
}

absl::StatusOr<std::unique_ptr<File>> OpenOrCreateVmdk(FileSystem& files,
                                                       const VmdkOptions& options, bool* created) {
  if (options.size_bytes == 0 || options.size_bytes % kSectorBytes != 0 ||
      options.size_bytes > kVmdkBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "disk ", options.name, " has ", options.size_bytes, " bytes; a VMDK takes a multiple of ",
        kSectorBytes, " up to ", kVmdkTebibytesMax, " TiB"));
  }
  const std::string path = JoinPath(options.directory, options.name + ".vmdk");
  const std::string flat_name = options.name + "-flat.vmdk";
  const std::string flat_path = JoinPath(options.directory, flat_name);
  const absl::StatusOr<std::string> text = ReadWholeFile(files, path, 64 * kKiB);
  if (text.ok()) {
    const absl::StatusOr<VmdkDescriptor> found = ParseVmdkDescriptor(*text);
    if (!found.ok()) return Annotate(found.status(), path);
    if (found->size_bytes != options.size_bytes || found->uuid != options.uuid) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, " is another disk (", found->size_bytes, " bytes, UUID ", found->uuid,
                       "; wanted ", options.size_bytes, " bytes, UUID ", options.uuid,
                       "): choose another directory or move it away"));
    }
    *created = false;
    return files.Open(JoinPath(options.directory, found->flat_name), OpenMode::kReadWriteBulk);
  }
  if (!absl::IsNotFound(text.status())) return text.status();
  const VmdkDescriptor descriptor{.size_bytes = options.size_bytes,
                                  .content_id = options.content_id,
                                  .uuid = options.uuid,
                                  .flat_name = flat_name};
  if (const absl::Status reads_back = CheckReadsBack(descriptor); !reads_back.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the descriptor of \"", absl::Utf8SafeCHexEscape(path),
                     "\" could not be read again: ", reads_back.message()));
  }
  // The flat extent first: a descriptor that is there always has its extent.
  HW_RETURN_IF_ERROR(files.MakeDirectories(options.directory));
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> flat, files.Open(flat_path, OpenMode::kCreate));
  HW_RETURN_IF_ERROR(flat->Truncate(0));
  HW_RETURN_IF_ERROR(flat->Truncate(options.size_bytes));
  HW_RETURN_IF_ERROR(flat->Sync());
  HW_RETURN_IF_ERROR(files.SyncDirectory(options.directory));
  HW_RETURN_IF_ERROR(WriteFileAtomically(files, path, FormatVmdkDescriptor(descriptor)));
  *created = true;
  return files.Open(flat_path, OpenMode::kReadWriteBulk);
}

}  // namespace homeward
