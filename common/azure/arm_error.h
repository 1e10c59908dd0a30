// What Azure says when it does not do what it was asked.
//
// Codes and bodies: learn.microsoft.com, "Track asynchronous Azure operations", "Throttling
// Resource Manager requests", "Troubleshoot common Azure deployment errors".
#ifndef HOMEWARD_COMMON_AZURE_ARM_ERROR_H_
#define HOMEWARD_COMMON_AZURE_ARM_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/net/https_client.h"

namespace homeward::azure {

struct ArmError {
  int http = 0;  // 0: of an operation that failed after it was begun
  std::string code;
  std::string message;  // with those of `details`
  std::string request_id;
};
// Of a reply that is no success; any body will do.
ArmError ReadArmError(const HttpsReply& reply);
// Of what an operation's URL tells of one that ended otherwise than well. `reply` is what it said.
ArmError ReadOperationError(const HttpsReply& reply);

// The same request may succeed soon: throttled, 5xx, or another operation is on the resource.
bool IsTransient(const ArmError& error);
// Throttled as a caller: no request of it is taken before the time has passed. Otherwise a 429 is
// about one resource.
bool IsThrottled(const ArmError& error);
// `what` is being done to which resource. See Arm for the codes.
absl::Status ToStatus(const ArmError& error, absl::string_view what);

// Keeps the code for AzureErrorOf().
absl::Status WithErrorCode(absl::Status status, absl::string_view code);

// x-ms-request-id, else x-ms-correlation-request-id; "none" where there is neither.
std::string RequestIdOf(const HttpsReply& reply);
// The least that x-ms-ratelimit-remaining-* have; -1 where there is none.
int64_t RequestsLeft(const HttpsReply& reply);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_ARM_ERROR_H_
