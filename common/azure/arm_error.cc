#include "common/azure/arm_error.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/azure/arm.h"
#include "common/azure/json.h"

namespace homeward::azure {
namespace {

constexpr char kErrorPayload[] = "homeward/azure-error";
constexpr char kThrottledPayload[] = "homeward/azure-throttled";
constexpr absl::string_view kLeft = "x-ms-ratelimit-remaining-";
constexpr size_t kBodyShown = 200;

// What is so with one of these codes is so whatever the HTTP code.
struct Meaning {
  absl::string_view code;
  absl::StatusCode status;
};
constexpr Meaning kMeanings[] = {
    {"AllocationFailed", absl::StatusCode::kResourceExhausted},
    {"ZonalAllocationFailed", absl::StatusCode::kResourceExhausted},
    {"OverconstrainedAllocationRequest", absl::StatusCode::kResourceExhausted},
    {"OverconstrainedZonalAllocationRequest", absl::StatusCode::kResourceExhausted},
    {"SkuNotAvailable", absl::StatusCode::kResourceExhausted},
    {"QuotaExceeded", absl::StatusCode::kResourceExhausted},
    {"SubnetIsFull", absl::StatusCode::kResourceExhausted},
    {"AuthorizationFailed", absl::StatusCode::kPermissionDenied},
    {"LinkedAuthorizationFailed", absl::StatusCode::kPermissionDenied},
    {"RequestDisallowedByPolicy", absl::StatusCode::kPermissionDenied},
    {"ScopeLocked", absl::StatusCode::kPermissionDenied},
    {"NotFound", absl::StatusCode::kNotFound},
    {"ResourceNotFound", absl::StatusCode::kNotFound},
    {"ResourceGroupNotFound", absl::StatusCode::kNotFound},
    {"ParentResourceNotFound", absl::StatusCode::kNotFound},
    {"SubscriptionNotFound", absl::StatusCode::kNotFound},
    {"InvalidResourceReference", absl::StatusCode::kNotFound},
    {"NicInUse", absl::StatusCode::kFailedPrecondition},
    {"OperationPreempted", absl::StatusCode::kAborted},
    {"InvalidParameter", absl::StatusCode::kInvalidArgument},
    {"BadRequest", absl::StatusCode::kInvalidArgument},
    {"InvalidVhd", absl::StatusCode::kInvalidArgument},
    {"InternalServerError", absl::StatusCode::kUnavailable},
    {"InternalOperationError", absl::StatusCode::kUnavailable},
    {"InternalExecutionError", absl::StatusCode::kUnavailable},
    {"NetworkingInternalOperationError", absl::StatusCode::kUnavailable},
};

bool Retryable(absl::string_view code) {
  return code == "AnotherOperationInProgress" || code == "NicReservedForAnotherVm" ||
         absl::StartsWith(code, "RetryableError");
}

std::string MessageOf(const Json& error) {
  std::string message = TextAt(error, {"message"});
  const Json& details = At(error, {"details"});
  for (size_t i = 0; details.is_array() && i < details.size(); ++i) {
    const std::string detail = TextAt(details[i], {"message"});
    if (detail.empty() || detail == message) continue;
    absl::StrAppend(&message, " [", TextAt(details[i], {"code"}), ": ", detail, "]");
  }
  return message;
}

absl::StatusCode CodeOf(const ArmError& error) {
  for (const Meaning& meaning : kMeanings) {
    if (meaning.code == error.code) return meaning.status;
  }
  // Compute has this code for quotas, too.
  if (absl::StrContains(absl::AsciiStrToLower(error.message), "quota") && error.http != 429 &&
      (error.code == "OperationNotAllowed" || absl::StrContains(error.code, "Quota"))) {
    return absl::StatusCode::kResourceExhausted;
  }
  if (error.http == 429) return absl::StatusCode::kResourceExhausted;
  if (error.http >= 500 || error.http == 408) return absl::StatusCode::kUnavailable;
  if (IsTransient(error) || error.http == 412) return absl::StatusCode::kAborted;
  switch (error.http) {
    case 400:
    case 422:
      return absl::StatusCode::kInvalidArgument;
    case 401:
      return absl::StatusCode::kUnauthenticated;
    case 403:
      return absl::StatusCode::kPermissionDenied;
    case 404:
    case 410:
      return absl::StatusCode::kNotFound;
    case 0:
    case 409:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

std::string RequestIdOf(const HttpsReply& reply) {
  for (const char* const name : {"x-ms-request-id", "x-ms-correlation-request-id"}) {
    std::string id = HeaderOf(reply, name);
    if (!id.empty()) return id;
  }
  return "none";
}

ArmError ReadArmError(const HttpsReply& reply) {
  ArmError error;
  error.http = reply.code;
  error.request_id = RequestIdOf(reply);
  const absl::StatusOr<Json> body = ParseJson(reply.body);
  if (body.ok()) {
    // Most have it under `error`, some at the top.
    const Json& inner = At(*body, {"error"}).is_object() ? At(*body, {"error"}) : *body;
    error.code = TextAt(inner, {"code"});
    error.message = MessageOf(inner);
  }
  if (error.code.empty()) error.code = HeaderOf(reply, "x-ms-error-code");
  if (error.message.empty() && !reply.body.empty())
    error.message = std::string(absl::string_view(reply.body).substr(0, kBodyShown));
  return error;
}

ArmError ReadOperationError(const HttpsReply& reply) {
  ArmError error = ReadArmError(reply);
  error.http = 0;
  if (error.code.empty()) {
    const absl::StatusOr<Json> body = ParseJson(reply.body);
    error.code = body.ok() ? TextAt(*body, {"status"}) : std::string();
    error.message = "Azure does not say why";
  }
  return error;
}

bool IsTransient(const ArmError& error) {
  switch (error.http) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    case 400:
    case 409:
      return Retryable(error.code) ||
             (error.code == "Conflict" && absl::StrContains(error.message, "concurrent request"));
    default:
      return false;
  }
}

bool IsThrottled(const ArmError& error) { return error.http == 429 && !Retryable(error.code); }

absl::Status ToStatus(const ArmError& error, absl::string_view what) {
  std::string text = absl::StrCat(what, ": ");
  if (error.http != 0) absl::StrAppend(&text, "HTTP ", error.http, " ");
  absl::StrAppend(&text, error.code.empty() ? "without a code" : error.code,
                  error.message.empty() ? "" : ": ", error.message, " (request ", error.request_id,
                  ")");
  absl::Status status(CodeOf(error), text);
  if (error.http == 429) status.SetPayload(kThrottledPayload, absl::Cord());
  return WithErrorCode(std::move(status), error.code);
}

absl::Status WithErrorCode(absl::Status status, absl::string_view code) {
  status.SetPayload(kErrorPayload, absl::Cord(code));
  return status;
}

bool IsThrottled(const absl::Status& status) {
  return status.GetPayload(kThrottledPayload).has_value();
}

std::string AzureErrorOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kErrorPayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

int64_t RequestsLeft(const HttpsReply& reply) {
  int64_t left = -1;
  for (const auto& [name, value] : reply.headers) {
    if (!absl::StartsWith(name, kLeft)) continue;
    // "11999", or "Microsoft.Compute/GetOperation3Min;11999,Microsoft.Compute/...;239".
    for (const absl::string_view part : absl::StrSplit(value, ',')) {
      int64_t number = 0;
      if (!absl::SimpleAtoi(part.substr(part.rfind(';') + 1), &number)) continue;
      left = left < 0 ? number : std::min(left, number);
    }
  }
  return left;
}

}  // namespace homeward::azure
