#include "common/azure/operation.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/azure/json.h"
#include "common/azure/retry.h"

namespace homeward::azure {
namespace {

enum class State { kRunning, kSucceeded, kFailed };

// Every other value is of one that is under way: providers have their own.
State StateOf(absl::string_view text) {
  if (absl::EqualsIgnoreCase(text, "Succeeded")) return State::kSucceeded;
  if (absl::EqualsIgnoreCase(text, "Failed") || absl::EqualsIgnoreCase(text, "Canceled") ||
      absl::EqualsIgnoreCase(text, "Cancelled")) {
    return State::kFailed;
  }
  return State::kRunning;
}

}  // namespace

Operation::Operation(HttpsMethod method, std::string url, std::string what, const HttpsReply& reply,
                     absl::Time now)
    : method_(method), own_url_(std::move(url)), what_(std::move(what)) {
  wait_ = ReadRetryAfter(reply, now);
  result_ = reply.body;
  location_ = HeaderOf(reply, "location");
  const std::string operation = HeaderOf(reply, "azure-asyncoperation");
  if (!operation.empty()) {
    way_ = Way::kOperation;
    look_at_ = operation;
    return;
  }
  if (reply.code == 202 && !location_.empty()) {
    way_ = Way::kLocation;
    look_at_ = location_;
    return;
  }
  look_at_ = own_url_;
  if (method_ == HttpsMethod::kPut) {
    TakeProvisioningState(reply);
  } else {
    End(absl::OkStatus());
  }
}

void Operation::End(absl::Status status) {
  ended_ = true;
  status_ = std::move(status);
  if (!status_.ok() || way_ != Way::kOperation) return;
  // What was put is read whole; what was posted for has its result at the other URL.
  if (method_ == HttpsMethod::kPut) result_url_ = own_url_;
  if (method_ == HttpsMethod::kPost) result_url_ = location_;
}

void Operation::TakeProvisioningState(const HttpsReply& reply) {
  result_ = reply.body;
  const absl::StatusOr<Json> body = ParseJson(reply.body);
  const std::string state =
      body.ok() ? TextAt(*body, {"properties", "provisioningState"}) : std::string();
  // "If no value is returned for provisioningState, the operation finished and succeeded."
  switch (state.empty() ? State::kSucceeded : StateOf(state)) {
    case State::kRunning:
      return;
    case State::kSucceeded:
      End(absl::OkStatus());
      return;
    case State::kFailed: {
      ArmError error;
      error.code = absl::StrCat("provisioningState ", state);
      error.request_id = RequestIdOf(reply);
      End(ToStatus(error, what_));
      return;
    }
  }
}

void Operation::TakeOperationState(const HttpsReply& reply) {
  const absl::StatusOr<Json> body = ParseJson(reply.body);
  const std::string state = body.ok() ? TextAt(*body, {"status"}) : std::string();
  if (state.empty()) {
    // Without a status the HTTP code has it.
    if (reply.code == 202) return;
    if (reply.code == 204) {
      End(absl::OkStatus());
      return;
    }
    End(absl::InternalError(absl::StrCat(what_, ": the operation at ", look_at_,
                                         " tells no status: HTTP ", reply.code, ", request ",
                                         RequestIdOf(reply))));
    return;
  }
  switch (StateOf(state)) {
    case State::kRunning:
      return;
    case State::kSucceeded:
      result_ = reply.body;
      End(absl::OkStatus());
      return;
    case State::kFailed:
      End(ToStatus(ReadOperationError(reply), what_));
      return;
  }
}

void Operation::Take(const HttpsReply& reply, absl::Time now) {
  wait_ = ReadRetryAfter(reply, now);
  if (reply.code == 404 || reply.code == 410) {
    // The record of the operation is gone, or what it was on; which of them, the resource tells.
    if (way_ == Way::kResource || method_ != HttpsMethod::kPut) {
      ArmError error = ReadArmError(reply);
      error.message =
          absl::StrCat(error.message,
                       " The operation's own record is gone: look at what is so, then try again.");
      End(way_ == Way::kResource ? ToStatus(ReadArmError(reply), what_)
                                 : absl::AbortedError(ToStatus(error, what_).message()));
      return;
    }
    way_ = Way::kResource;
    look_at_ = own_url_;
    return;
  }
  const std::string operation = HeaderOf(reply, "azure-asyncoperation");
  const std::string location = HeaderOf(reply, "location");
  switch (way_) {
    case Way::kOperation:
      TakeOperationState(reply);
      if (!ended_ && !operation.empty()) look_at_ = operation;
      return;
    case Way::kLocation:
      if (reply.code == 202) {
        if (!location.empty()) look_at_ = location;
        return;
      }
      result_ = reply.body;
      if (method_ == HttpsMethod::kPut) {
        // A provider may answer 200 with a resource that is not ready.
        way_ = Way::kResource;
        look_at_ = own_url_;
        TakeProvisioningState(reply);
        return;
      }
      End(absl::OkStatus());
      return;
    case Way::kResource:
      TakeProvisioningState(reply);
      return;
  }
}

}  // namespace homeward::azure
