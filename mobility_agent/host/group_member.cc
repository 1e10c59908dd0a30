#include "mobility_agent/host/group_member.h"

#include <utility>

namespace homeward {

void GroupMember::Want(const control::v1::CommonPoint* wanted) {
  absl::MutexLock lock(&mutex_);
  if (wanted == nullptr) {
    wanted_.Clear();
  } else {
    wanted_ = *wanted;
  }
}

control::v1::CommonPointObserved GroupMember::observed() const {
  absl::MutexLock lock(&mutex_);
  return seen_;
}

bool GroupMember::under_way() const {
  absl::MutexLock lock(&mutex_);
  return under_way_;
}

bool GroupMember::Asked(control::v1::CommonPointStep step) const {
  return wanted_.point_id() == seen_.point_id() && wanted_.step() >= step;
}

bool GroupMember::AllStandStillOrOver() const {
  return wanted_.point_id() != seen_.point_id() || wanted_.step() == control::v1::TAKE;
}

GroupMember::Due GroupMember::Next() {
  absl::MutexLock lock(&mutex_);
  Due due;
  if (wanted_.point_id() == seen_.point_id()) return due;
  seen_.Clear();
  due.cancel = std::exchange(under_way_, false);
  if (due.cancel) return due;  // The next one begins when that is done.
  // One that the others have begun to stand still for began without this member.
  if (wanted_.point_id().empty() || wanted_.step() != control::v1::PREPARE) return due;
  seen_.set_point_id(wanted_.point_id());
  under_way_ = true;
  due.begin = CommonPointRequest{wanted_.point_id(),
                                 wanted_.kind() == types::v1::APP_CONSISTENT
                                     ? PointKind::kApplicationConsistent
                                     : PointKind::kCrashConsistent,
                                 this};
  return due;
}

void GroupMember::Reach(control::v1::CommonPointStep step) {
  {
    absl::MutexLock lock(&mutex_);
    if (!under_way_ || seen_.reached() >= step) return;
    seen_.set_reached(step);
  }
  on_news_();
}

bool GroupMember::MayHold() {
  Reach(control::v1::PREPARE);
  absl::MutexLock lock(&mutex_);
  return Asked(control::v1::HOLD);
}

bool GroupMember::AwaitAll() {
  Reach(control::v1::HOLD);
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(this, &GroupMember::AllStandStillOrOver), hold_max_);
  return Asked(control::v1::TAKE);
}

void GroupMember::OnTaken() {
  Reach(control::v1::TAKE);
  absl::MutexLock lock(&mutex_);
  under_way_ = false;
}

void GroupMember::OnMissed(absl::string_view why) {
  {
    absl::MutexLock lock(&mutex_);
    if (!std::exchange(under_way_, false)) return;
    seen_.set_missed(std::string(why));
  }
  on_news_();
}

}  // namespace homeward
