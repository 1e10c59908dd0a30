// Follower: one vCenter's inventory, read once and then followed by what changes.
#ifndef HOMEWARD_COMMON_VSPHERE_FOLLOWER_H_
#define HOMEWARD_COMMON_VSPHERE_FOLLOWER_H_

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "common/vsphere/objects.h"
#include "common/vsphere/session.h"

namespace homeward::vsphere {

// The vCenter says which objects changed (WaitForUpdatesEx over a container view of everything);
// each of them is then read whole (RetrievePropertiesEx, in pages). Memory: the inventory, one
// page, and one set of updates, whose values are few and small. Not thread-safe.
class Follower {
 public:
  // `session` must outlive it.
  explicit Follower(Session& session) : session_(session) {}

  // Waits until something changed, or for `patience`, and puts it into the inventory; the first
  // call reads everything. True when there was a change. After a failure the next call goes on
  // where it was, or begins anew where the session has ended.
  absl::StatusOr<bool> Wait(absl::Duration patience, const std::atomic<bool>* cancelled = nullptr);

  const Inventory& inventory() const { return inventory_; }

 private:
  absl::Status Begin(CallLimit limit);
  // Notes what changed and what is gone.
  void Note(pugi::xml_node update_set);
  absl::Status ReadChanged(CallLimit limit);
  void Forget(const Ref& ref);

  Session& session_;
  Inventory inventory_;
  uint64_t login_ = 0;  // that the filter belongs to; 0: it is to be made anew
  Ref view_, filter_;
  uint64_t made_in_ = 0;  // the login that they were made in
  std::string version_;
  bool reading_all_ = false;
  std::set<Ref> changed_;  // to be read
  std::set<Ref> seen_;     // while all is read: what there is
};

// Reads these objects whole, as they are now, into `inventory`. Returns those that are not there
// any more, or that the account may not see.
absl::StatusOr<std::set<Ref>> ReadObjects(Session& session, const std::vector<Ref>& refs,
                                          CallLimit limit, Inventory* inventory);

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_FOLLOWER_H_
