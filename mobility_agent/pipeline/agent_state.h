// AgentState: what the agent must remember over a restart. Format: docs/formats/agent_state.md.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_AGENT_STATE_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_AGENT_STATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/extent_set.h"
#include "common/base/stream_position.h"

namespace homeward {

struct AgentState {
  bool stopped_cleanly = false;
  bool syncing = true;
  uint64_t epoch = 0;
  StreamPosition durable;
  std::vector<ExtentSet> dirty;  // by disk; may be shorter than the disk list
};

std::string EncodeAgentState(const AgentState& state);
// DATA_LOSS: use an empty state, which synchronises everything.
absl::StatusOr<AgentState> DecodeAgentState(absl::string_view bytes);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_AGENT_STATE_H_
