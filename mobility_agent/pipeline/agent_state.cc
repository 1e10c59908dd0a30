#include "mobility_agent/pipeline/agent_state.h"

#include "common/base/bytes.h"
#include "common/status/status_macros.h"
#include "common/wire/change_batch.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr absl::string_view kMagic = "HWA1";
constexpr uint32_t kStoppedCleanly = 1;
constexpr uint32_t kSyncing = 2;
constexpr uint32_t kDisksMax = 256;

}  // namespace

std::string EncodeAgentState(const AgentState& state) {
  std::string out;
  FieldWriter writer(&out);
  writer.Raw(kMagic);
  writer.U32((state.stopped_cleanly ? kStoppedCleanly : 0) | (state.syncing ? kSyncing : 0));
  writer.U64(state.epoch);
  writer.U64(state.durable.epoch);
  writer.U64(state.durable.sequence);
  uint32_t count = 0;
  for (const ExtentSet& dirty : state.dirty) count += static_cast<uint32_t>(dirty.range_count());
  writer.U32(count);
  for (uint32_t disk = 0; disk < state.dirty.size(); ++disk) {
    for (const Extent& range : state.dirty[disk].Ranges()) {
      writer.U32(disk);
      writer.U64(range.offset);
      writer.U64(range.length);
    }
  }
  if (!state.begun.empty()) {
    writer.U32(static_cast<uint32_t>(state.begun.size()));
    for (const uint64_t epoch : state.begun) writer.U64(epoch);
  }
  writer.U64(Checksum64(AsBytes(out)));
  return out;
}

absl::StatusOr<AgentState> DecodeAgentState(absl::string_view bytes) {
  const absl::Status damaged = absl::DataLossError("agent state: damaged");
  if (bytes.size() < sizeof(uint64_t)) return damaged;
  const absl::string_view body = bytes.substr(0, bytes.size() - sizeof(uint64_t));
  if (FieldReader(bytes.substr(body.size())).U64() != Checksum64(AsBytes(body))) return damaged;
  FieldReader reader(body);
  if (reader.Raw(kMagic.size()) != kMagic) return damaged;
  AgentState state;
  const uint32_t flags = reader.U32();
  state.stopped_cleanly = (flags & kStoppedCleanly) != 0;
  state.syncing = (flags & kSyncing) != 0;
  state.epoch = reader.U64();
  state.durable = {reader.U64(), reader.U64()};
  const uint32_t count = reader.U32();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    const uint32_t disk = reader.U32();
    const Extent range{reader.U64(), reader.U64()};
    if (disk >= kDisksMax) return damaged;
    if (state.dirty.size() <= disk) state.dirty.resize(disk + 1);
    state.dirty[disk].Add(range);
  }
  if (reader.ok() && !reader.rest().empty()) {
    const uint32_t begun = reader.U32();
    if (begun > kBegunEpochsMax) return damaged;
    for (uint32_t i = 0; i < begun; ++i) state.begun.push_back(reader.U64());
  }
  if (!reader.ok()) return damaged;
  return state;
}

absl::StatusOr<absl::optional<AgentState>> ReadAgentState(FileSystem& files,
                                                          const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadWholeFile(files, path, kAgentStateBytesMax);
  if (absl::IsNotFound(bytes.status())) return absl::nullopt;
  HW_RETURN_IF_ERROR(bytes.status());
  return DecodeAgentState(*bytes).value_or(AgentState{});
}

absl::StatusOr<bool> TakeCleanStop(FileSystem& files, const std::string& path) {
  HW_ASSIGN_OR_RETURN(absl::optional<AgentState> state, ReadAgentState(files, path));
  if (!state.has_value() || !state->stopped_cleanly) return false;
  state->stopped_cleanly = false;
  HW_RETURN_IF_ERROR(WriteFileAtomically(files, path, EncodeAgentState(*state)));
  return true;
}

}  // namespace homeward
