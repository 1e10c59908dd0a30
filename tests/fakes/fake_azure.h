// FakeAzure: the simulated Azure Resource Manager (azure/arm/README.md) as a process of this test.
#ifndef HOMEWARD_TESTS_FAKES_FAKE_AZURE_H_
#define HOMEWARD_TESTS_FAKES_FAKE_AZURE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/azure/arm.h"
#include "common/clock/clock.h"

namespace homeward {

class FakeAzure {
 public:
  // `config` is its JSON. `flags` are further ones of the command line. Its files go to
  // `directory`; of one that was there before it goes on, at the same addresses.
  static absl::StatusOr<std::unique_ptr<FakeAzure>> Start(const std::string& directory,
                                                          const std::string& config,
                                                          std::vector<std::string> flags = {});
  ~FakeAzure();  // Ends the process, in order. It ends with this one too, however that ends.

  // Ends it at once, and starts it again.
  absl::Status Crash();
  const std::string& endpoint() const { return endpoint_; }
  const std::string& metadata() const { return metadata_; }
  const std::string& trusted() const { return trusted_; }  // PEM
  // The application of the standard configuration, with its secret.
  azure::Credential Secret() const;
  azure::ArmOptions Options() const;
  // POST /control; the reply.
  absl::StatusOr<std::string> Order(const std::string& json);

 private:
  FakeAzure() = default;
  absl::Status Run();
  void End(int signal);

  std::string directory_;
  std::vector<std::string> flags_;
  int pid_ = 0;
  std::string endpoint_, metadata_, trusted_;
};

// Time that passes at once where it is waited for, and really beside that.
class QuickTime : public Clock, public azure::Pauses {
 public:
  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
  absl::Status Wait(absl::Duration time, const std::atomic<bool>* stop) override;
  double Fraction() override { return 0.5; }

  // What was waited for so far.
  std::vector<absl::Duration> waits() const;
  // Called at the begin of each wait.
  void OnWait(std::function<void()> callback);
  // `time` passes.
  void Pass(absl::Duration time);

 private:
  const RealClock real_;
  mutable absl::Mutex mutex_;
  absl::Duration ahead_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  std::vector<absl::Duration> waits_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_wait_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_FAKE_AZURE_H_
