#include "master_target/keeper/state_record.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/status/status_macros.h"
#include "common/wire/change_batch.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr absl::string_view kMagic = "HWS1";
// Each may be torn by a crash; the other one is whole then.
constexpr uint64_t kSlots = 2;
constexpr uint64_t kSlotBytes = 4 * kKiB;
constexpr size_t kBodyOffset = 16;  // behind magic, length and checksum

std::string EncodeSlot(const StateRecord::Content& content) {
  std::string body;
  FieldWriter writer(&body);
  writer.U64(content.count);
  writer.U64(content.delta_number);
  writer.U64(content.delta_bytes);
  writer.Raw(EncodeState(content.state));
  writer.U32(static_cast<uint32_t>(content.recovered_point.size()));
  writer.Raw(content.recovered_point);
  std::string slot;
  FieldWriter header(&slot);
  header.Raw(kMagic);
  header.U32(static_cast<uint32_t>(body.size()));
  header.U64(Checksum64(AsBytes(body)));
  header.Raw(body);
  slot.resize(kSlotBytes);
  return slot;
}

bool DecodeSlot(absl::string_view slot, StateRecord::Content* content) {
  FieldReader header(slot);
  const absl::string_view magic = header.Raw(kMagic.size());
  const uint32_t body_bytes = header.U32();
  const uint64_t checksum = header.U64();
  if (magic != kMagic || body_bytes > slot.size() - kBodyOffset) return false;
  const absl::string_view body = slot.substr(kBodyOffset, body_bytes);
  if (Checksum64(AsBytes(body)) != checksum) return false;
  FieldReader reader(body);
  content->count = reader.U64();
  content->delta_number = reader.U64();
  content->delta_bytes = reader.U64();
  const bool known = DecodeState(reader.Raw(kStateBytes), &content->state);
  const uint32_t id_bytes = reader.U32();
  if (id_bytes > kMarkerIdBytesMax) return false;
  content->recovered_point = std::string(reader.Raw(id_bytes));
  return known && reader.ok();
}

}  // namespace

std::string EncodeState(const StreamState& state) {
  std::string out;
  FieldWriter writer(&out);
  writer.U64(state.position.epoch);
  writer.U64(state.position.sequence);
  writer.U64(state.generation);
  writer.U32(state.syncing ? 1 : 0);
  return out;
}

bool DecodeState(absl::string_view body, StreamState* state) {
  FieldReader reader(body);
  state->position = {reader.U64(), reader.U64()};
  state->generation = reader.U64();
  state->syncing = (reader.U32() & 1) != 0;
  return reader.ok();
}

absl::StatusOr<absl::optional<StateRecord::Content>> StateRecord::Decode(absl::string_view file) {
  absl::optional<Content> newest;
  size_t damaged = 0;
  for (uint64_t i = 0; i < kSlots; ++i) {
    const absl::string_view slot = file.substr(std::min(i * kSlotBytes, file.size()), kSlotBytes);
    Content content;
    if (!DecodeSlot(slot, &content)) {
      if (!IsZero(AsBytes(slot))) ++damaged;
    } else if (!newest.has_value() || content.count > newest->count) {
      newest = std::move(content);
    }
  }
  if (damaged == kSlots) return absl::DataLossError("both copies of the state are damaged");
  return newest;
}

absl::StatusOr<std::unique_ptr<StateRecord>> StateRecord::Open(FileSystem& files,
                                                               const std::string& path) {
  HW_ASSIGN_OR_RETURN(std::unique_ptr<File> file, files.Open(path, OpenMode::kCreate));
  HW_ASSIGN_OR_RETURN(const uint64_t bytes, file->Size());
  std::string content(kSlots * kSlotBytes, '\0');
  // Whoever made a shorter one died before anything was noted in it.
  if (bytes < content.size()) {
    HW_RETURN_IF_ERROR(file->Write(0, AsBytes(content)));
  } else {
    HW_RETURN_IF_ERROR(file->Read(0, Writable(&content)));
  }
  std::unique_ptr<StateRecord> record(new StateRecord(std::move(file)));
  absl::StatusOr<absl::optional<Content>> decoded = Decode(content);
  if (!decoded.ok())
    return absl::DataLossError(absl::StrCat(path, ": ", decoded.status().message()));
  record->content_ = *std::move(decoded);
  // The process may have died before its sync, and what is there is built upon from now on.
  HW_RETURN_IF_ERROR(record->file_->Sync());
  HW_RETURN_IF_ERROR(files.SyncDirectory(ParentDirectory(path)));
  return record;
}

absl::Status StateRecord::Write(Content content) {
  HW_RETURN_IF_ERROR(broken_);
  HW_CHECK(content.recovered_point.size() <= kMarkerIdBytesMax);
  content.count = content_.has_value() ? content_->count + 1 : 1;
  // Never over the newest one. A file system that copies on write may have no room for it.
  const absl::Status written =
      file_->Write(content.count % kSlots * kSlotBytes, AsBytes(EncodeSlot(content)));
  if (absl::IsResourceExhausted(written)) return written;
  broken_ = written.ok() ? file_->Sync() : written;
  if (absl::IsResourceExhausted(broken_))
    broken_ = absl::UnavailableError(absl::StrCat("it is to be opened anew: ", broken_.message()));
  if (broken_.ok()) content_ = std::move(content);
  return broken_;
}

}  // namespace homeward
