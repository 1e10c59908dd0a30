// Replies are the examples of learn.microsoft.com, "Track asynchronous Azure operations".
#include "common/azure/operation.h"

#include "common/azure/arm.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward::azure {
namespace {

using ::testing::HasSubstr;

constexpr char kAsync[] =
    "https://management.azure.com/subscriptions/s/providers/Microsoft.Compute/"
    "locations/westus/operations/o?api-version=2019-12-01";
constexpr char kLocation[] =
    "https://management.azure.com/subscriptions/s/providers/"
    "Microsoft.Storage/operations/o?monitor=true&api-version=2019-06-01";
constexpr char kOwn[] = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d";

class OperationTest : public ::testing::Test {
 protected:
  static HttpsReply Reply(int code, std::string body,
                          std::map<std::string, std::string> headers = {}) {
    HttpsReply reply;
    reply.code = code;
    reply.body = std::move(body);
    reply.headers = std::move(headers);
    return reply;
  }
  Operation Begin(HttpsMethod method, const HttpsReply& reply) {
    return Operation(method, kOwn, "PUT disk d", reply, now_);
  }
  const absl::Time now_ = absl::UnixEpoch();
};

TEST_F(OperationTest, StartOfAVmIsFollowedAtAzureAsyncOperation) {
  Operation operation =
      Begin(HttpsMethod::kPost, Reply(202, "", {{"azure-asyncoperation", kAsync}}));
  ASSERT_FALSE(operation.ended());
  EXPECT_EQ(operation.url(), kAsync);
  EXPECT_EQ(operation.wait(), absl::nullopt);
  operation.Take(Reply(200, R"({"startTime": "2017-01-06T18:58:24.7596323+00:00",
                                "status": "InProgress", "name": "9a062a88"})",
                       {{"retry-after", "3"}}),
                 now_);
  ASSERT_FALSE(operation.ended());
  EXPECT_EQ(operation.wait(), absl::Seconds(3));
  operation.Take(Reply(200, R"({"status": "Succeeded"})"), now_);
  ASSERT_TRUE(operation.ended());
  EXPECT_TRUE(operation.status().ok());
  EXPECT_EQ(operation.result_url(), "");  // no Location: there is no result
}

TEST_F(OperationTest, DeploymentIsReadAtItsOwnUrlAtTheEnd) {
  Operation operation =
      Begin(HttpsMethod::kPut, Reply(201, R"({"properties": {"provisioningState": "Accepted"}})",
                                     {{"azure-asyncoperation", kAsync}}));
  operation.Take(Reply(200, R"({"status": "Running"})"), now_);
  ASSERT_FALSE(operation.ended());
  operation.Take(Reply(200, R"({"status": "Succeeded"})"), now_);
  ASSERT_TRUE(operation.ended());
  EXPECT_EQ(operation.result_url(), kOwn);
}

TEST_F(OperationTest, StorageAccountIsFollowedAtLocation) {
  Operation operation =
      Begin(HttpsMethod::kPut, Reply(202, "", {{"location", kLocation}, {"retry-after", "17"}}));
  EXPECT_EQ(operation.url(), kLocation);
  EXPECT_EQ(operation.wait(), absl::Seconds(17));
  operation.Take(Reply(202, "", {{"location", "https://management.azure.com/next"}}), now_);
  ASSERT_FALSE(operation.ended());
  EXPECT_EQ(operation.url(), "https://management.azure.com/next");
  operation.Take(Reply(200, R"({"id": "x", "properties": {"provisioningState": "Succeeded"}})"),
                 now_);
  ASSERT_TRUE(operation.ended());
  EXPECT_TRUE(operation.status().ok());
  EXPECT_THAT(operation.result(), HasSubstr("\"id\""));
}

TEST_F(OperationTest, AzureAsyncOperationIsBeforeLocation) {
  Operation operation =
      Begin(HttpsMethod::kPost,
            Reply(202, "", {{"azure-asyncoperation", kAsync}, {"location", kLocation}}));
  EXPECT_EQ(operation.url(), kAsync);
  operation.Take(Reply(200, R"({"status": "Succeeded"})"), now_);
  EXPECT_EQ(operation.result_url(), kLocation);
}

TEST_F(OperationTest, WithoutHeadersProvisioningStateTells) {
  Operation operation =
      Begin(HttpsMethod::kPut, Reply(201, R"({"properties": {"provisioningState": "Updating"}})"));
  ASSERT_FALSE(operation.ended());
  EXPECT_EQ(operation.url(), kOwn);
  operation.Take(
      Reply(200, R"({"properties": {"provisioningState": "Failed"}})", {{"x-ms-request-id", "r1"}}),
      now_);
  ASSERT_TRUE(operation.ended());
  EXPECT_TRUE(absl::IsFailedPrecondition(operation.status())) << operation.status();
  EXPECT_THAT(operation.status().message(), HasSubstr("r1"));
}

TEST_F(OperationTest, WhatIsDoneAtOnceIsDone) {
  for (const int code : {200, 201}) {
    EXPECT_TRUE(Begin(HttpsMethod::kPut, Reply(code, R"({"name": "d"})")).ended());
    EXPECT_TRUE(Begin(HttpsMethod::kPut,
                      Reply(code, R"({"properties": {"provisioningState": "Succeeded"}})"))
                    .ended());
  }
  EXPECT_TRUE(Begin(HttpsMethod::kDelete, Reply(204, "")).ended());
  EXPECT_TRUE(Begin(HttpsMethod::kPost, Reply(200, "")).ended());
}

TEST_F(OperationTest, ProvidersHaveStatesOfTheirOwn) {
  Operation operation =
      Begin(HttpsMethod::kPut, Reply(201, "", {{"azure-asyncoperation", kAsync}}));
  for (const char* const state :
       {"Creating", "Accepted", "Resolving", "ManualSecretRotationInProgress"}) {
    operation.Take(Reply(200, std::string(R"({"status": ")") + state + "\"}"), now_);
    EXPECT_FALSE(operation.ended()) << state;
  }
}

TEST_F(OperationTest, FailureKeepsItsCodeAndWords) {
  Operation operation =
      Begin(HttpsMethod::kPut, Reply(201, "", {{"azure-asyncoperation", kAsync}}));
  operation.Take(Reply(200, R"({"status": "Failed", "error": {"code": "AllocationFailed",
                       "message": "Allocation failed. We do not have sufficient capacity."}})"),
                 now_);
  ASSERT_TRUE(operation.ended());
  EXPECT_TRUE(absl::IsResourceExhausted(operation.status()));
  EXPECT_EQ(AzureErrorOf(operation.status()), "AllocationFailed");
  EXPECT_THAT(operation.status().message(), HasSubstr("sufficient capacity"));
}

TEST_F(OperationTest, CanceledWithoutAReasonIsNamed) {
  Operation operation =
      Begin(HttpsMethod::kDelete, Reply(202, "", {{"azure-asyncoperation", kAsync}}));
  operation.Take(Reply(200, R"({"status": "Canceled"})"), now_);
  ASSERT_TRUE(operation.ended());
  EXPECT_EQ(AzureErrorOf(operation.status()), "Canceled");
}

TEST_F(OperationTest, RecordThatIsGoneLeadsToTheResource) {
  Operation put = Begin(HttpsMethod::kPut, Reply(201, "", {{"azure-asyncoperation", kAsync}}));
  put.Take(Reply(404, ""), now_);
  ASSERT_FALSE(put.ended());
  EXPECT_EQ(put.url(), kOwn);
  put.Take(Reply(404, R"({"error": {"code": "ResourceNotFound", "message": "x"}})"), now_);
  EXPECT_TRUE(absl::IsNotFound(put.status()));
  Operation start = Begin(HttpsMethod::kPost, Reply(202, "", {{"azure-asyncoperation", kAsync}}));
  start.Take(Reply(404, ""), now_);
  EXPECT_TRUE(absl::IsAborted(start.status())) << start.status();
}

TEST_F(OperationTest, NonsenseIsAnError) {
  Operation operation =
      Begin(HttpsMethod::kPost, Reply(202, "", {{"azure-asyncoperation", kAsync}}));
  operation.Take(Reply(200, "<html>"), now_);
  EXPECT_TRUE(absl::IsInternal(operation.status())) << operation.status();
}

}  // namespace
}  // namespace homeward::azure
