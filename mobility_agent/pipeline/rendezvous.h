// Rendezvous: where the members of a replication group meet for a common point, as one member sees
// it. See docs/decisions/0031-a-common-point-is-an-id-that-all-have.md.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_RENDEZVOUS_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_RENDEZVOUS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "common/wire/change_batch.h"

namespace homeward {

// Called on the strand of the stream.
class Rendezvous {
 public:
  virtual ~Rendezvous() = default;
  // Little is left to copy. True: all members are so far, and this one is to stand still now. Never
  // waits.
  virtual bool MayHold() = 0;
  // This member stands still. Waits until all do: true. False: one does not, or it took too long.
  // Allocates nothing and logs nothing: what stands still may be the agent's own root.
  virtual bool AwaitAll() = 0;
  // How it ended: with the common point, or with one that is this member's alone.
  virtual void OnTaken() = 0;
  virtual void OnMissed(absl::string_view why) = 0;
};

// A point that is to be taken there.
struct CommonPointRequest {
  std::string id;  // of the point, at every member; at most kMarkerIdBytesMax
  PointKind kind = PointKind::kCrashConsistent;
  Rendezvous* rendezvous = nullptr;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_RENDEZVOUS_H_
