// Bodies are those of Azure's public reference and of public issue threads.
#include "common/azure/arm_error.h"

#include "common/azure/arm.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward::azure {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

HttpsReply Reply(int code, std::string body, std::map<std::string, std::string> headers = {}) {
  HttpsReply reply;
  reply.code = code;
  reply.body = std::move(body);
  reply.headers = std::move(headers);
  return reply;
}
absl::Status StatusOf(const HttpsReply& reply) { return ToStatus(ReadArmError(reply), "PUT vm"); }

TEST(ArmErrorTest, MessageHasCodeTextAndRequest) {
  const absl::Status status = StatusOf(Reply(
      409,
      R"({"error": {"code": "OperationNotAllowed", "message": "Disk os is attached to VM /x."}})",
      {{"x-ms-request-id", "6f3c"}, {"x-ms-correlation-request-id", "77"}}));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(AzureErrorOf(status), "OperationNotAllowed");
  EXPECT_EQ(status.message(),
            "PUT vm: HTTP 409 OperationNotAllowed: Disk os is attached to VM /x. (request 6f3c)");
}

TEST(ArmErrorTest, CorrelationIdStandsInForARequestId) {
  EXPECT_THAT(StatusOf(Reply(404, "", {{"x-ms-correlation-request-id", "77"}})).message(),
              HasSubstr("(request 77)"));
  EXPECT_THAT(StatusOf(Reply(404, "")).message(), HasSubstr("(request none)"));
}

TEST(ArmErrorTest, BodiesOfOtherShapesAreShown) {
  EXPECT_THAT(StatusOf(Reply(502, "<html>Bad gateway</html>")).message(),
              AllOf(HasSubstr("HTTP 502"), HasSubstr("Bad gateway")));
  EXPECT_EQ(
      AzureErrorOf(StatusOf(Reply(400, R"({"code": "BadRequest", "message": "Only blobs"})"))),
      "BadRequest");
  EXPECT_TRUE(absl::IsInternal(StatusOf(Reply(302, "[1, 2"))));
  EXPECT_TRUE(absl::IsNotFound(StatusOf(Reply(404, R"({"error": "text"})"))));
}

TEST(ArmErrorTest, DetailsAreTold) {
  const HttpsReply reply = Reply(429, R"({"error": {"code": "RetryableError",
    "message": "A retryable error occured.", "details": [{"code": "ReferencedResourceNotProvisioned",
    "message": "Cannot proceed with operation because resource x is not in Succeeded state."}]}})");
  EXPECT_THAT(StatusOf(reply).message(),
              HasSubstr("[ReferencedResourceNotProvisioned: Cannot proceed"));
  EXPECT_TRUE(IsTransient(ReadArmError(reply)));
  EXPECT_FALSE(IsThrottled(ReadArmError(reply)));  // about one resource, not about the caller
}

TEST(ArmErrorTest, StatusSaysWhatTheCallerShouldDo) {
  const auto code = [](int http, const std::string& name, const std::string& message = "") {
    ArmError error;
    error.http = http;
    error.code = name;
    error.message = message;
    return ToStatus(error, "x").code();
  };
  EXPECT_EQ(code(404, "ResourceNotFound"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(400, "InvalidResourceReference"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(403, "AuthorizationFailed"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code(401, "ExpiredAuthenticationToken"), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(code(400, "InvalidParameter"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(400, "NicInUse"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(409, "AnotherOperationInProgress"), absl::StatusCode::kAborted);
  EXPECT_EQ(code(412, "PreconditionFailed"), absl::StatusCode::kAborted);
  EXPECT_EQ(code(429, "TooManyRequests"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(503, "ServiceUnavailable"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code(0, "AllocationFailed"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(409, "SkuNotAvailable"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(0, "InternalExecutionError"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code(0, "VMStartTimedOut"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(409, "OperationNotAllowed", "exceeding approved standardDv5Family Cores quota"),
            absl::StatusCode::kResourceExhausted);
}

TEST(ArmErrorTest, OnlyAConflictWithAnotherRequestPasses) {
  ArmError error;
  error.http = 409;
  error.code = "Conflict";
  error.message = "The request failed due to conflict with a concurrent request.";
  EXPECT_TRUE(IsTransient(error));
  error.message = "Access not permitted because disk x is currently attached to running VM y.";
  EXPECT_FALSE(IsTransient(error));
}

TEST(ArmErrorTest, TheLeastOfWhatRemainsCounts) {
  EXPECT_EQ(RequestsLeft(Reply(200, "")), -1);
  EXPECT_EQ(
      RequestsLeft(Reply(200, "", {{"x-ms-ratelimit-remaining-subscription-reads", "11999"}})),
      11999);
  EXPECT_EQ(RequestsLeft(Reply(200, "",
                               {{"x-ms-ratelimit-remaining-subscription-writes", "1199"},
                                {"x-ms-ratelimit-remaining-resource",
                                 "Microsoft.Compute/GetOperation3Min;14939,"
                                 "Microsoft.Compute/PutVM3Min;239"}})),
            239);
}

}  // namespace
}  // namespace homeward::azure
