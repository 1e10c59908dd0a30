// GroupMember: this machine as a member of a replication group: what the configuration server asks
// of it for a common point, and how far it has come. The stream's strand stands still in it while
// the others come so far; what the server says meanwhile comes in from another thread.
#ifndef HOMEWARD_MOBILITY_AGENT_HOST_GROUP_MEMBER_H_
#define HOMEWARD_MOBILITY_AGENT_HOST_GROUP_MEMBER_H_

#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "homeward/control/v1/control.pb.h"
#include "mobility_agent/pipeline/rendezvous.h"

namespace homeward {

class GroupMember : public Rendezvous {
 public:
  // For so long it stands still for the others at the most. `on_news`: observed() has changed; it
  // is called on the strand, also while it stands still.
  GroupMember(absl::Duration hold_max, std::function<void()> on_news)
      : hold_max_(hold_max), on_news_(std::move(on_news)) {}

  // Thread-safe. Null: nothing is asked for.
  void Want(const control::v1::CommonPoint* wanted) ABSL_LOCKS_EXCLUDED(mutex_);
  control::v1::CommonPointObserved observed() const ABSL_LOCKS_EXCLUDED(mutex_);

  // On the strand, often: what is to be done now.
  struct Due {
    absl::optional<CommonPointRequest> begin;
    bool cancel = false;  // the one that was begun
  };
  Due Next() ABSL_LOCKS_EXCLUDED(mutex_);

  // A common point that was begun is neither taken nor missed yet.
  bool under_way() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Rendezvous
  bool MayHold() override ABSL_LOCKS_EXCLUDED(mutex_);
  bool AwaitAll() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnTaken() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnMissed(absl::string_view why) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Of the point that was begun: the server asks for it, and for this step or a later one.
  bool Asked(control::v1::CommonPointStep step) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AllStandStillOrOver() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Reach(control::v1::CommonPointStep step) ABSL_LOCKS_EXCLUDED(mutex_);

  const absl::Duration hold_max_;
  const std::function<void()> on_news_;
  mutable absl::Mutex mutex_;
  control::v1::CommonPoint wanted_ ABSL_GUARDED_BY(mutex_);
  control::v1::CommonPointObserved seen_ ABSL_GUARDED_BY(mutex_);  // of the one that was begun
  bool under_way_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_HOST_GROUP_MEMBER_H_
