// Operation: one long-running operation of Azure Resource Manager, and what to look at next.
//
// As learn.microsoft.com, "Track asynchronous Azure operations", has it: Azure-AsyncOperation
// before Location before provisioningState.
#ifndef HOMEWARD_COMMON_AZURE_OPERATION_H_
#define HOMEWARD_COMMON_AZURE_OPERATION_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/azure/arm_error.h"
#include "common/net/https_client.h"

namespace homeward::azure {

// Pure. Not thread-safe.
class Operation {
 public:
  // `reply`, which is a success, is what the request that began it was answered with. `url` is that
  // request's own, `what` is named in errors.
  Operation(HttpsMethod method, std::string url, std::string what, const HttpsReply& reply,
            absl::Time now);

  // Ended, well or not.
  bool ended() const { return ended_; }
  const absl::Status& status() const { return status_; }
  // Until ended(): what to GET, and how long to wait before.
  const std::string& url() const { return look_at_; }
  // None: as the caller thinks fit.
  absl::optional<absl::Duration> wait() const { return wait_; }
  // What the GET of url() was answered with; 404 and 410 included, other failures not.
  void Take(const HttpsReply& reply, absl::Time now);

  // When it has ended well: where its result is; empty: it is result().
  const std::string& result_url() const { return result_url_; }
  const std::string& result() const { return result_; }

 private:
  enum class Way { kOperation, kLocation, kResource };
  void End(absl::Status status);
  void TakeProvisioningState(const HttpsReply& reply);
  void TakeOperationState(const HttpsReply& reply);

  const HttpsMethod method_;
  const std::string own_url_;
  const std::string what_;
  Way way_ = Way::kResource;
  bool ended_ = false;
  absl::Status status_;
  std::string look_at_;
  std::string location_;
  absl::optional<absl::Duration> wait_;
  std::string result_url_;
  std::string result_;
};

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_OPERATION_H_
