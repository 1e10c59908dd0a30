// CommonPoints: has the members of each replication group take common points: all come to where
// little is left to copy, all stand still, and only when all do each takes its point. Soft state: a
// server that starts again knows of none that was under way, and its members go on by themselves.
// See docs/decisions/0031-a-common-point-is-an-id-that-all-have.md.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_COMMON_POINTS_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_COMMON_POINTS_H_

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "config_server/jobs/groups.h"
#include "config_server/model/view.h"
#include "config_server/store/records.h"

namespace homeward {

// Must run on one strand. Costs what groups have to do, not what machines there are.
class CommonPoints {
 public:
  // `clock`, `records` and `groups` outlive it.
  CommonPoints(const Clock& clock, Records* records, const Groups* groups,
               std::function<View()> view)
      : clock_(clock), records_(*records), groups_(*groups), view_(std::move(view)) {}

  struct Attempt {
    control::v1::CommonPoint point;  // with the step that is under way, or was the last
    absl::Time began;
    bool ended = false;
    // Member by id, and why it takes no part. None in one that ended: it was taken.
    std::map<std::string, std::string> missed;
  };
  // The newest, which may be under way, and the newest that ended. Null: there is none since this
  // server started.
  const Attempt* LastOf(const std::string& group) const;
  const Attempt* LastEndedOf(const std::string& group) const;
  // What is desired of the machine. Null: nothing.
  const control::v1::CommonPoint* WantedOf(const std::string& machine_id) const;

  // Begins one now. One of its kind that is under way is it. NOT_FOUND; FAILED_PRECONDITION with a
  // problem: a member cannot take part, or one of another kind is under way.
  absl::StatusOr<std::string> Begin(const std::string& group, types::v1::PointKind kind);
  // Moves each as far as it goes and begins those that are due. The ids of machines of which
  // something else is desired than before.
  std::set<std::string> Step();

 private:
  struct State {
    Attempt attempt;                          // the last one; none while its id is empty
    std::optional<Attempt> before;            // the one that ended before it
    std::set<std::string> members;            // of that
    std::map<std::string, std::string> told;  // as `missed`, since the last one that was taken
    absl::Duration step_began;
    absl::Duration next, next_app;                      // when one is due
    absl::Duration point_interval, app_point_interval;  // infinite: none is by itself
    bool under_way() const { return !attempt.point.point_id().empty() && !attempt.ended; }
  };
  // Groups come and go, and change.
  void Follow();
  void BeginAttempt(const View& view, const std::string& group, types::v1::PointKind kind,
                    State* state);
  void MoveAttempt(const View& view, const std::string& group, State* state);
  void SetStep(control::v1::CommonPointStep step, State* state);
  void EndAttempt(const View& view, const std::string& group, State* state);
  // The next one is due soon, where the group takes them by itself.
  void OnMissed(State* state) const;
  // Why it was missed, unless that is what was said last.
  void Tell(const View& view, const std::string& group, State* state);

  const Clock& clock_;
  Records& records_;
  const Groups& groups_;
  const std::function<View()> view_;
  std::map<std::string, State> states_;          // by group
  std::map<std::string, std::string> group_of_;  // members of what is under way
  std::set<std::string> changed_;                // of these machines something else is desired
  uint64_t followed_revision_ = 0;               // of the groups
  int64_t last_id_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_COMMON_POINTS_H_
