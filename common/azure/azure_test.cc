#include <random>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/azure/blob_container.h"
#include "common/azure/crc64.h"
#include "common/azure/retry.h"
#include "common/azure/shared_key.h"
#include "common/azure/storage_reply.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward::azure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// The key of the emulator, which Microsoft publishes; no secret.
constexpr char kPublishedKey[] =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

// Get Container Metadata, as in "Authorize with Shared Key".
RequestToSign PublishedExample() {
  RequestToSign request;
  request.method = "GET";
  request.headers = {{"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"},
                     {"x-ms-version", "2015-02-21"}};
  request.path = "/mycontainer";
  request.query = {{"restype", "container"}, {"comp", "metadata"}, {"timeout", "20"}};
  return request;
}

// As Azure itself answered for these words (recorded by azure-sdk-for-js, storage-blob).
TEST(Crc64, IsAzures) {
  EXPECT_EQ(Crc64("Hello World"), 0x659632cb7e4be261u);
  EXPECT_EQ(Crc64("123456789"), 0xae8b14860a799888u) << "the check value of CRC-64/NVME";
  EXPECT_EQ(Crc64(""), 0u);
  const std::string content(1000, 'x');
  for (size_t at = 1; at < 40; ++at) EXPECT_NE(Crc64(content.substr(at)), Crc64(content)) << at;
}

TEST(Crc64, IsTheSameWithoutTheProcessorsHelpAndInPieces) {
  std::mt19937_64 random(5);
  std::string content(2000, '\0');
  for (char& byte : content) byte = static_cast<char>(random());
  for (size_t bytes = 0; bytes < 600; ++bytes) {
    const absl::string_view part = absl::string_view(content).substr(random() % 1000, bytes);
    ASSERT_EQ(Crc64(part), Crc64ByTables(part)) << bytes;
    const size_t first = bytes == 0 ? 0 : random() % bytes;
    ASSERT_EQ(Crc64(part.substr(first), Crc64(part.substr(0, first))), Crc64(part)) << bytes;
  }
}

TEST(SharedKey, SignsWhatTheReferenceSaysOfGetContainerMetadata) {
  EXPECT_EQ(StringToSign(PublishedExample(), "myaccount"),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
            "x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\n"
            "timeout:20");
}

TEST(SharedKey, TheSignatureIsTheOneThatOpensslMakes) {
  const auto key = DecodeAccountKey(absl::StrCat(" ", kPublishedKey, "\n"));
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(SharedKeyAuthorization(PublishedExample(), "myaccount", *key),
            "SharedKey myaccount:1u9lui2jDxj0+fpbHjQ5m5NnastJRSYM+PSmfi8TXx4=");
}

TEST(SharedKey, ContentAndConditionsHaveTheirLines) {
  RequestToSign request;
  request.method = "PUT";
  request.headers = {{"Content-MD5", "sQqNsWTgdUEFt6mb5y4/5Q=="},
                     {"Content-Type", "application/octet-stream"},
                     {"If-Match", "\"0x8D1\""},
                     {"x-ms-range", "bytes=0-511"}};
  request.content_bytes = 512;
  request.path = "/container/machine/disk.vhd";
  request.query = {{"comp", "page"}};
  EXPECT_EQ(
      StringToSign(request, "account"),
      "PUT\n\n\n512\nsQqNsWTgdUEFt6mb5y4/5Q==\napplication/octet-stream\n\n\n\"0x8D1\"\n\n\n\n"
      "x-ms-range:bytes=0-511\n/account/container/machine/disk.vhd\ncomp:page");
}

TEST(SharedKey, HeadersAreInAzuresOrderAndNotInThatOfTheirBytes) {
  RequestToSign request;
  request.method = "PUT";
  request.headers = {{"x-ms-meta-hw1", "a"}, {"x-ms-meta-hw_b", "b"}, {"X-MS-Meta-hw", "c"}};
  EXPECT_THAT(StringToSign(request, "account"),
              HasSubstr("x-ms-meta-hw:c\nx-ms-meta-hw_b:b\nx-ms-meta-hw1:a\n"));
}

TEST(SharedKey, WhatIsNoKeyIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeAccountKey("AccountKey=abc").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeAccountKey("YWJj").status()));  // too short
}

TEST(SharedAccessSignature, IsTakenWithAndWithoutItsQuestionMark) {
  const std::string token = "sv=2021-12-02&sr=c&sp=rwdl&sig=a%2Bb%3D";
  EXPECT_EQ(*CheckSharedAccessSignature(token), token);
  EXPECT_EQ(*CheckSharedAccessSignature(absl::StrCat("?", token, "\n")), token);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckSharedAccessSignature("sv=2021-12-02").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckSharedAccessSignature("sig=a b").status()));
}

TEST(ContainerUrl, TheAccountIsInTheNameOrInThePath) {
  const auto azure = ParseContainerUrl("https://acc1.blob.core.windows.net/replicas");
  ASSERT_TRUE(azure.ok()) << azure.status();
  EXPECT_EQ(azure->account, "acc1");
  EXPECT_EQ(azure->host.host, "acc1.blob.core.windows.net");
  EXPECT_EQ(azure->host.port, 443);
  EXPECT_EQ(azure->path, "/replicas");
  const auto emulator = ParseContainerUrl("https://127.0.0.1:10000/acc1/replicas/");
  ASSERT_TRUE(emulator.ok()) << emulator.status();
  EXPECT_EQ(emulator->account, "acc1");
  EXPECT_EQ(emulator->host.port, 10000);
  EXPECT_EQ(emulator->path, "/acc1/replicas");
}

TEST(ContainerUrl, WhatIsNoneSaysWhyAndShowsNoSignature) {
  for (const char* const url :
       {"http://acc1.blob.core.windows.net/replicas", "https://acc1.blob.core.windows.net",
        "https://acc1.blob.core.windows.net/", "https://acc1.blob.core.windows.net/a/b",
        "https://127.0.0.1/replicas", "https://acc1.blob.core.windows.net/a%20b", "https://", ""}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseContainerUrl(url).status())) << url;
  }
  const absl::Status with_signature =
      ParseContainerUrl("https://acc1.blob.core.windows.net/a?sv=1&sig=secret").status();
  EXPECT_THAT(std::string(with_signature.message()), ::testing::Not(HasSubstr("secret")));
}

// In the shape that Azure answers with: a mark at the beginning, an ETag without quotes, elements
// that nobody here reads.
constexpr char kList[] =
    "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults "
    "ServiceEndpoint=\"https://acc1.blob.core.windows.net/\" ContainerName=\"replicas\">"
    "<Prefix>m1/</Prefix><MaxResults>3</MaxResults><Blobs>"
    "<Blob><Name>m1/a.vhd</Name><Snapshot>2026-03-24T03:04:55.8963057Z</Snapshot><Properties>"
    "<Etag>0x8D7CFA021703433</Etag><Content-Length>1049088</Content-Length><Content-CRC64 />"
    "<x-ms-blob-sequence-number>0</x-ms-blob-sequence-number><BlobType>PageBlob</BlobType>"
    "<ServerEncrypted>true</ServerEncrypted></Properties>"
    "<Metadata><hw_point>p1</hw_point><hw_kind>crash &amp; more</hw_kind></Metadata></Blob>"
    "<Blob><Name>m1/a.vhd</Name><Properties><Etag>0x8D7CFA021703434</Etag>"
    "<Content-Length>1049088</Content-Length><BlobType>PageBlob</BlobType>"
    "<LeaseStatus>locked</LeaseStatus><LeaseState>leased</LeaseState></Properties>"
    "<Metadata><HW_Machine>m1</HW_Machine></Metadata><OrMetadata /></Blob>"
    "<Blob><Name>m1/notes.txt</Name><Properties><Etag>0x8D1</Etag><Content-Length>3"
    "</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob></Blobs>"
    "<NextMarker>2!100!MDAwMDI5IWJsb2NrYmxvYg--</NextMarker></EnumerationResults>";

TEST(StorageReply, AListHasPageBlobsAndTheirSnapshots) {
  const auto page = ParseBlobPage(kList);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->next_marker, "2!100!MDAwMDI5IWJsb2NrYmxvYg--");
  ASSERT_EQ(page->blobs.size(), 2u);
  const BlobProperties& snapshot = page->blobs[0];
  EXPECT_EQ(snapshot.name, "m1/a.vhd");
  EXPECT_EQ(snapshot.snapshot, "2026-03-24T03:04:55.8963057Z");
  EXPECT_EQ(snapshot.bytes, 1049088u);
  EXPECT_FALSE(snapshot.leased);
  EXPECT_THAT(snapshot.metadata,
              ElementsAre(Pair("hw_kind", "crash & more"), Pair("hw_point", "p1")));
  const BlobProperties& blob = page->blobs[1];
  EXPECT_EQ(blob.snapshot, "");
  EXPECT_EQ(blob.etag, "\"0x8D7CFA021703434\"");
  EXPECT_TRUE(blob.leased);
  EXPECT_THAT(blob.metadata, ElementsAre(Pair("hw_machine", "m1")));
}

TEST(StorageReply, AListThatIsCutAnywhereIsNoList) {
  const absl::string_view list = kList;
  for (size_t length = 0; length < list.size(); ++length)
    EXPECT_FALSE(ParseBlobPage(list.substr(0, length)).ok()) << length;
}

TEST(StorageReply, RangesAreMergedAndTheEndIsTheLastByte) {
  const auto page = ParseRangePage(
      "<?xml version=\"1.0\" "
      "encoding=\"utf-8\"?><PageList><PageRange><Start>0</Start><End>511</End>"
      "</PageRange><PageRange><Start>512</Start><End>1023</End></PageRange><ClearRange><Start>2048"
      "</Start><End>2559</End></ClearRange><PageRange><Start>4096</Start><End>8191</End></"
      "PageRange>"
      "<NextMarker /></PageList>");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(page->ranges.Ranges(), ElementsAre(Extent{0, 1024}, Extent{4096, 4096}));
  EXPECT_EQ(page->next_marker, "");
}

TEST(StorageReply, RangesThatCannotBeAreRefused) {
  for (const char* const range :
       {"<Start>512</Start><End>0</End>", "<Start>x</Start><End>511</End>",
        "<Start>0</Start><End>18446744073709551615</End>", "<Start>0</Start>"}) {
    EXPECT_TRUE(absl::IsInternal(
        ParseRangePage(absl::StrCat("<PageList><PageRange>", range, "</PageRange></PageList>"))
            .status()))
        << range;
  }
}

HttpsReply Refusal(int http, const std::string& code) {
  HttpsReply reply;
  reply.code = http;
  reply.headers["x-ms-request-id"] = "5a0e1c22-501e-0041-00cb-52aee3000000";
  reply.body =
      absl::StrCat("\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>", code,
                   "</Code><Message>Why it is so.\nRequestId:5a0e1c22\nTime:2026"
                   "</Message></Error>");
  return reply;
}

TEST(StorageReply, AnErrorKeepsAzuresCodeAndRequestId) {
  const absl::Status status = StatusOf(Refusal(412, "LeaseIdMissing"));
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("LeaseIdMissing (Why it is so.)"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("5a0e1c22-501e-0041-00cb-52aee3000000"));
}

TEST(StorageReply, ErrorsAreWhatACallerActsOn) {
  const auto code_of = [](int http, const std::string& code) {
    return StatusOf(Refusal(http, code)).code();
  };
  EXPECT_EQ(code_of(404, "BlobNotFound"), absl::StatusCode::kNotFound);
  EXPECT_EQ(code_of(409, "BlobAlreadyExists"), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(code_of(409, "LeaseAlreadyPresent"), absl::StatusCode::kAborted);
  EXPECT_EQ(code_of(409, "SnapshotsPresent"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code_of(412, "ConditionNotMet"), absl::StatusCode::kAborted);
  EXPECT_EQ(code_of(403, "AuthenticationFailed"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code_of(416, "InvalidPageRange"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code_of(503, "ServerBusy"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code_of(500, "OperationTimedOut"), absl::StatusCode::kUnavailable);
}

TEST(StorageReply, OnlyWhatPassesMayPass) {
  for (const auto& [http, code] :
       std::vector<std::pair<int, std::string>>{{503, "ServerBusy"},
                                                {500, "InternalError"},
                                                {500, "OperationTimedOut"},
                                                {429, ""},
                                                {400, "Crc64Mismatch"},
                                                {502, ""},
                                                {409, "SnapshotOperationRateExceeded"}})
    EXPECT_TRUE(MayPass(Refusal(http, code))) << http << code;
  for (const auto& [http, code] :
       std::vector<std::pair<int, std::string>>{{412, "LeaseIdMissing"},
                                                {403, "AuthenticationFailed"},
                                                {404, "BlobNotFound"},
                                                {400, "InvalidHeaderValue"},
                                                {501, "NotImplemented"},
                                                {409, "SnapshotsPresent"}})
    EXPECT_FALSE(MayPass(Refusal(http, code))) << http << code;
}

TEST(StorageReply, WhatAProxyAnswersIsNotTakenForAzures) {
  HttpsReply reply;
  reply.code = 407;
  reply.body = "<html>Who are you?</html>";
  EXPECT_THAT(std::string(StatusOf(reply).message()), HasSubstr("not from Azure"));
}

TEST(RetrySchedule, WaitsDoubleToTheLongestAndEndWithTheLimit) {
  const RetryLimits limits = {absl::Seconds(1), absl::Seconds(8), absl::Seconds(60)};
  for (uint64_t seed = 0; seed < 50; ++seed) {
    RetrySchedule schedule(limits, absl::Seconds(100), seed);
    absl::Duration now = absl::Seconds(100), step = absl::Seconds(1);
    while (const auto wait = schedule.Next(now, absl::ZeroDuration())) {
      EXPECT_GE(*wait, step / 2) << "seed " << seed;
      EXPECT_LE(*wait, step) << "seed " << seed;
      step = std::min(step * 2, absl::Seconds(8));
      now += *wait;
      ASSERT_LE(now, absl::Seconds(160)) << "seed " << seed;
    }
    EXPECT_GT(now, absl::Seconds(150)) << "gave up early, seed " << seed;
  }
}

TEST(RetrySchedule, TwoThatWereRefusedTogetherDoNotComeBackTogether) {
  std::set<absl::Duration> waits;
  for (uint64_t seed = 0; seed < 20; ++seed)
    waits.insert(*RetrySchedule({}, {}, seed).Next({}, absl::ZeroDuration()));
  EXPECT_GT(waits.size(), 15u);
}

TEST(RetrySchedule, WaitsAsLongAsTheServerAsksButNotPastTheLimit) {
  RetrySchedule schedule({absl::Seconds(1), absl::Seconds(8), absl::Seconds(60)}, {}, 1);
  EXPECT_EQ(schedule.Next({}, absl::Seconds(30)), absl::Seconds(30));
  EXPECT_EQ(schedule.Next(absl::Seconds(31), absl::Seconds(30)), std::nullopt);
}

absl::optional<absl::Duration> RetryAfter(const std::string& text, const std::string& date = "") {
  HttpsReply reply;
  reply.headers["retry-after"] = text;
  if (!date.empty()) reply.headers["date"] = date;
  const absl::CivilSecond now(2026, 1, 2, 3, 4, 5);
  return ReadRetryAfter(reply, absl::FromCivil(now, absl::UTCTimeZone()));
}

TEST(RetryAfter, IsSeconds) {
  EXPECT_EQ(RetryAfter("7"), absl::Seconds(7));
  EXPECT_EQ(RetryAfter(" 0 "), absl::ZeroDuration());
}

TEST(RetryAfter, IsADateInAnyOfTheThreeForms) {
  for (const char* const text : {"Fri, 02 Jan 2026 03:04:35 GMT", "Friday, 02-Jan-26 03:04:35 GMT",
                                 "Fri Jan  2 03:04:35 2026"}) {
    EXPECT_EQ(RetryAfter(text), absl::Seconds(30)) << text;
  }
  EXPECT_EQ(RetryAfter("Fri, 02 Jan 2026 03:04:00 GMT"), absl::ZeroDuration()) << "is past";
}

TEST(RetryAfter, ADateIsTakenAgainstTheServersOwnClock) {
  EXPECT_EQ(RetryAfter("Mon, 05 Jan 2026 10:00:20 GMT", "Mon, 05 Jan 2026 10:00:00 GMT"),
            absl::Seconds(20));
  EXPECT_EQ(RetryAfter("Fri, 02 Jan 2026 03:04:35 GMT", "today"), absl::Seconds(30));
}

TEST(RetryAfter, IsCutToTheMost) {
  for (const char* const text :
       {"3601", "99999999999999999999999", "Fri, 02 Jan 2099 03:04:35 GMT"})
    EXPECT_EQ(RetryAfter(text), kRetryAfterMax) << text;
}

TEST(RetryAfter, IsNothingElse) {
  for (const char* const text : {"", "-1", "soon", "1.5", "7s", "Fri, 32 Jan 2026 03:04:35 GMT",
                                 "Fri, 02 Jan 2026 03:04:35 CET"}) {
    EXPECT_EQ(RetryAfter(text), absl::nullopt) << text;
  }
  EXPECT_EQ(ReadRetryAfter(HttpsReply(), absl::UnixEpoch()), absl::nullopt);
}

TEST(PageBlobs, WhatAzureWouldNotTakeIsRefusedBeforeItIsSent) {
  EXPECT_TRUE(CheckBlobName("m1/6000c29e-disk.vhd").ok());
  for (const char* const name : {"", "/a", "a/", "a.", "a//b", "a/./b", "a b", "a%2f", "ä"})
    EXPECT_TRUE(absl::IsInvalidArgument(CheckBlobName(name))) << name;
  EXPECT_TRUE(CheckMetadata({{"hw_point", "a b=="}}).ok());
  for (const Metadata& metadata :
       {Metadata{{"hw-point", "x"}}, Metadata{{"Hw", "x"}}, Metadata{{"1a", "x"}},
        Metadata{{"a", ""}}, Metadata{{"a", " x"}}, Metadata{{"a", "x\n"}}, Metadata{{"a", "ä"}},
        Metadata{{"a", std::string(kMetadataBytesMax, 'x')}}})
    EXPECT_TRUE(absl::IsInvalidArgument(CheckMetadata(metadata)));
  EXPECT_TRUE(CheckBlobBytes(kPageBlobBytesMax).ok());
  EXPECT_FALSE(CheckBlobBytes(kPageBlobBytesMax + kPageBytes).ok());
  EXPECT_FALSE(CheckBlobBytes(513).ok());
  const std::string page(kPageBytes, 'x');
  EXPECT_TRUE(CheckWrites({{"a", 512, page, 512}, {"a", 0, "", 512}}).ok());
  for (const PageWrite& write :
       {PageWrite{"a", 1, page, 512}, PageWrite{"a", 0, page, 1024}, PageWrite{"a", 0, "", 0},
        PageWrite{"a", UINT64_MAX - 511, page, 512}, PageWrite{"a", 0, "", 100}})
    EXPECT_TRUE(absl::IsInvalidArgument(CheckWrites({write}))) << write.offset;
}

}  // namespace
}  // namespace homeward::azure
