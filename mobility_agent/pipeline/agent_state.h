// AgentState: what the agent must remember over a restart. Format: docs/formats/agent_state.md.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_AGENT_STATE_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_AGENT_STATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/base/extent_set.h"
#include "common/base/stream_position.h"
#include "common/os/file_system.h"

namespace homeward {

inline constexpr uint64_t kAgentStateBytesMax = 64 * kMiB;

struct AgentState {
  bool stopped_cleanly = false;
  bool syncing = true;
  uint64_t epoch = 0;
  StreamPosition durable;
  std::vector<uint64_t> begun;   // epochs since `durable`, at most kBegunEpochsMax
  std::vector<ExtentSet> dirty;  // by disk; may be shorter than the disk list
};

std::string EncodeAgentState(const AgentState& state);
// DATA_LOSS: use an empty state, which synchronises everything.
absl::StatusOr<AgentState> DecodeAgentState(absl::string_view bytes);

// The state at `path`; nothing where there is none. One that is damaged reads as an empty state.
absl::StatusOr<absl::optional<AgentState>> ReadAgentState(FileSystem& files,
                                                          const std::string& path);

// Whether the stream with its state at `path` was stopped cleanly. If so it is taken back, durably:
// call it before anything can write to the disks, because a process that then dies without opening
// the stream has seen writes that nobody remembers.
absl::StatusOr<bool> TakeCleanStop(FileSystem& files, const std::string& path);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_AGENT_STATE_H_
