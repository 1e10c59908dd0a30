// CloudMover: has Azure do what moves in it need.
#ifndef HOMEWARD_CONFIG_SERVER_INVENTORY_CLOUD_MOVER_H_
#define HOMEWARD_CONFIG_SERVER_INVENTORY_CLOUD_MOVER_H_

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "config_server/inventory/site_followers.h"
#include "config_server/workflows/cloud.h"

namespace homeward {

// Thread-safe. A thread for each move that is under way, and at most kMovesMax of them: further
// ones wait. Nothing is believed of earlier calls: before each step all that has the move's names
// is read as it is. So a move may be begun again from anywhere, by another process too, and a step
// whose reply was lost is seen to be done.
class CloudMover : public Cloud {
 public:
  static constexpr int kMovesMax = 16;
  struct Patience {
    absl::Duration operation = absl::Minutes(30);    // of Azure; then it is looked at anew
    absl::Duration unreachable = absl::Minutes(10);  // then the move fails
    int faults = 5;                                  // other than that
    absl::Duration look = absl::Seconds(3);  // between two looks at what Azure is at work on
    absl::Duration retry_first = absl::Seconds(1);
    absl::Duration retry_max = absl::Seconds(30);
  };

  // Both outlive it.
  CloudMover(const Clock& clock, SiteFollowers* followers, Patience patience);
  ~CloudMover() override;  // Ends what is under way; what Azure is at work on goes on.

  std::map<std::string, CloudState> States() const override { return followers_.States(); }
  StepResult Do(const std::string& machine_id, const CloudMove& move) override;
  void Watch(const std::string& machine_id,
             const std::optional<storage::v1::AzureVm>& vm) override {
    followers_.Watch(machine_id, vm);
  }

 private:
  class Run;
  const Clock& clock_;
  SiteFollowers& followers_;
  const Patience patience_;
  absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Run>> runs_ ABSL_GUARDED_BY(mutex_);  // by machine
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_INVENTORY_CLOUD_MOVER_H_
