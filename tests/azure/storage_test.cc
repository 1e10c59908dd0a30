// The storage client against Azurite behind the strict front, and Azure's own SDK beside it.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/azure/blob_container.h"
#include "common/clock/clock.h"
#include "common/os/run_program.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/azure/model_page_blobs.h"
#include "tests/fakes/fake_azure_storage.h"

namespace homeward::azure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

constexpr uint64_t kMiB = 1 << 20;
constexpr char kLeaseA[] = "aaaaaaaa-0000-4000-8000-000000000001";
constexpr char kLeaseB[] = "bbbbbbbb-0000-4000-8000-000000000002";

std::string Bytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; at += sizeof(uint32_t)) {
    const uint32_t next = random();
    std::memcpy(&bytes[at], &next, std::min(sizeof(next), size - at));
  }
  return bytes;
}

// A token that the emulator takes: it looks at who gave it, for whom and until when, and at no
// signature.
class UnsignedTokens : public TokenSource {
 public:
  explicit UnsignedTokens(const Clock& clock) : clock_(clock) {}
  absl::StatusOr<std::string> Token(absl::string_view resource) override {
    const int64_t now = absl::ToUnixSeconds(clock_.Now());
    const std::string claims = absl::StrFormat(
        R"({"aud":"%s","iss":"https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",)"
        R"("iat":%d,"nbf":%d,"exp":%d,"ver":"1.0"})",
        resource, now - 60, now - 60, now + 3600);
    return absl::StrCat(absl::WebSafeBase64Escape(R"({"alg":"RS256","typ":"JWT"})"), ".",
                        absl::WebSafeBase64Escape(claims), ".", absl::WebSafeBase64Escape("none"));
  }

 private:
  const Clock& clock_;
};

class AzureStorage : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = "/var/tmp/homeward-azure-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    auto started = FakeAzureStorage::Start(directory_);
    ASSERT_TRUE(started.ok()) << started.status();
    storage_ = started->release();
  }
  static void TearDownTestSuite() {
    delete storage_;
    std::filesystem::remove_all(directory_);
  }
  void SetUp() override {
    ASSERT_NE(storage_, nullptr);
    Order(R"({"faults": [], "ranges_max": 0})");
    options_ = storage_->Options();
    blobs_ = Open(options_);
    // A folder of its own for each test.
    folder_ = absl::StrCat(::testing::UnitTest::GetInstance()->current_test_info()->name(), "/");
    disk_ = folder_ + "disk.vhd";
  }
  void TearDown() override {
    if (storage_ != nullptr) Order(R"({"faults": []})");
  }

  std::unique_ptr<BlobContainer> Open(const BlobContainerOptions& options) {
    auto opened = BlobContainer::Open(options, clock_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }
  static std::string Order(const std::string& json) {
    const absl::StatusOr<std::string> reply = storage_->Order(json);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.value_or("");
  }
  static void Fault(const std::string& json) { Order(absl::StrCat(R"({"faults": [)", json, "]}")); }
  static std::string Counts() { return Order("{}"); }

  std::string CreateDisk(uint64_t bytes, const Metadata& metadata = {{"hw_machine", "m1"}}) {
    const auto etag = blobs_->Create(disk_, bytes, metadata);
    EXPECT_TRUE(etag.ok()) << etag.status();
    return etag.value_or("");
  }
  absl::Status WriteAt(uint64_t offset, absl::string_view content, const std::string& lease = "") {
    return blobs_->Write({{disk_, offset, content, content.size()}}, {{disk_, lease}});
  }
  std::string ReadAll(const std::string& snapshot, uint64_t bytes) {
    const auto content = blobs_->Read(disk_, snapshot, 0, bytes);
    EXPECT_TRUE(content.ok()) << content.status();
    return content.value_or("");
  }
  // Azure's own SDK, with an order of these fields.
  absl::Status Sdk(const std::string& fields) {
    const std::string order = absl::StrCat(directory_, "/order.json");
    const std::string trusted = absl::StrCat(directory_, "/trusted.pem");
    std::ofstream(trusted) << options_.trusted;
    std::ofstream(order) << absl::StrFormat(R"({"url":"%s","account":"%s","key":"%s",%s})",
                                            options_.url, storage_->account(), storage_->key(),
                                            fields);
    return RunProgram({"env", absl::StrCat("NODE_EXTRA_CA_CERTS=", trusted), "node",
                       HOMEWARD_SOURCE_DIR "/tests/azure/sdk.js",
                       absl::StrCat(storage_->npm(), "/node_modules"), order},
                      absl::Minutes(2));
  }

  static FakeAzureStorage* storage_;
  static std::string directory_;
  const RealClock clock_;
  BlobContainerOptions options_;
  std::unique_ptr<BlobContainer> blobs_;
  std::string folder_, disk_;
};
FakeAzureStorage* AzureStorage::storage_ = nullptr;
std::string AzureStorage::directory_;

// Of an emulator that ends before it is ready, too.
TEST_F(AzureStorage, NothingStaysInTheFolderOfTheSimulatedAccount) {
  const std::string folder = absl::StrCat(directory_, "/another"), npm = folder + "-npm";
  std::filesystem::create_directories(folder);
  const std::string blob = npm + "/node_modules/azurite/dist/src/blob";
  std::filesystem::create_directories(blob);
  std::ofstream(blob + "/main.js") << "console.log('it cannot listen')";
  const auto ended = RunProgramForOutput(
      {HOMEWARD_FAKE_AZURE_STORAGE, "--npm", npm, "--directory", folder, "--memory"},
      {.timeout = absl::Minutes(1), .output_bytes_max = 4096});
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_NE(ended->exit_code, 0);
  EXPECT_THAT(ended->output, HasSubstr("it cannot listen"));
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  auto another = FakeAzureStorage::Start(folder);
  ASSERT_TRUE(another.ok()) << another.status();
  EXPECT_TRUE(std::filesystem::is_empty(folder));
  another->reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(AzureStorage, ANewBlobReadsAsZerosAndKeepsWhatItIsToldOfItself) {
  const std::string etag = CreateDisk(kMiB + 512, {{"hw_machine", "m1"}, {"hw_generation", "7"}});
  EXPECT_EQ(ReadAll("", kMiB + 512), std::string(kMiB + 512, '\0'));
  const auto there = blobs_->Properties(disk_, "");
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->bytes, kMiB + 512);
  EXPECT_EQ(there->etag, etag);
  EXPECT_FALSE(there->leased);
  EXPECT_THAT(there->metadata, ElementsAre(Pair("hw_generation", "7"), Pair("hw_machine", "m1")));
  EXPECT_TRUE(blobs_->Ranges(disk_, "")->empty());
}

TEST_F(AzureStorage, ABlobThatIsThereIsNotMadeAgain) {
  CreateDisk(kMiB);
  EXPECT_TRUE(absl::IsAlreadyExists(blobs_->Create(disk_, 2 * kMiB, {}).status()));
  EXPECT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(blobs_->Create(disk_, 2 * kMiB, {}).status()));
  // As after a lost reply.
  EXPECT_TRUE(blobs_->Create(disk_, kMiB, {{"hw_machine", "m1"}}).ok());
}

TEST_F(AzureStorage, ManyWritesAtOnceAreAllThere) {
  CreateDisk(24 * kMiB);
  std::string expected(24 * kMiB, '\0');
  std::vector<PageWrite> writes;
  std::vector<std::string> contents;
  contents.reserve(40);
  for (uint32_t i = 0; i < 40; ++i) {
    const uint64_t offset = i * kMiB / 2;
    contents.push_back(Bytes(512 * (1 + 97 * i % 1000), i));
    expected.replace(offset, contents.back().size(), contents.back());
    writes.push_back({disk_, offset, contents.back(), contents.back().size()});
  }
  const absl::Status written = blobs_->Write(writes, {});
  ASSERT_TRUE(written.ok()) << written;
  EXPECT_TRUE(ReadAll("", 24 * kMiB) == expected);
}

TEST_F(AzureStorage, AWriteOfMoreThanAPutTakesIsMadeInPieces) {
  CreateDisk(16 * kMiB);
  const std::string content = Bytes(9 * kMiB + 512, 5);
  Fault("");
  ASSERT_TRUE(WriteAt(512, content).ok());
  EXPECT_THAT(Counts(), HasSubstr(R"("PUT page":3)"));
  const auto there = blobs_->Read(disk_, "", 512, content.size());
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_TRUE(*there == content);
  EXPECT_THAT(blobs_->Ranges(disk_, "")->Ranges(), ElementsAre(Extent{512, content.size()}));
}

TEST_F(AzureStorage, WhatIsWrittenLaterIsWhatIsRead) {
  CreateDisk(kMiB);
  ASSERT_TRUE(WriteAt(0, Bytes(64 << 10, 1)).ok());
  const std::string second = Bytes(8 << 10, 2);
  ASSERT_TRUE(WriteAt(4096, second).ok());
  ASSERT_TRUE(blobs_->Write({{disk_, 8192, "", 4096}}, {}).ok());
  std::string expected = Bytes(64 << 10, 1);
  expected.replace(4096, second.size(), second);
  expected.replace(8192, 4096, std::string(4096, '\0'));
  EXPECT_TRUE(ReadAll("", 64 << 10) == expected);
  EXPECT_THAT(blobs_->Ranges(disk_, "")->Ranges(),
              ElementsAre(Extent{0, 8192}, Extent{12288, (64 << 10) - 12288}));
}

TEST_F(AzureStorage, ALargeRangeIsClearedAtOnce) {
  CreateDisk(64 * kMiB);
  ASSERT_TRUE(WriteAt(0, Bytes(5 * kMiB, 1)).ok());
  Fault("");
  ASSERT_TRUE(blobs_->Write({{disk_, 0, "", 64 * kMiB}}, {}).ok());
  EXPECT_THAT(Counts(), HasSubstr(R"("PUT page":1)"));
  EXPECT_TRUE(blobs_->Ranges(disk_, "")->empty());
}

TEST_F(AzureStorage, ReadsOfAnySizeAndNoneBeyondTheEnd) {
  CreateDisk(kMiB);
  const std::string content = Bytes(kMiB, 3);
  ASSERT_TRUE(WriteAt(0, content).ok());
  EXPECT_EQ(*blobs_->Read(disk_, "", 1000, 3), content.substr(1000, 3));
  EXPECT_EQ(*blobs_->Read(disk_, "", 5, 0), "");
  EXPECT_TRUE(absl::IsInvalidArgument(blobs_->Read(disk_, "", kMiB - 1, 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(blobs_->Read(disk_, "", kMiB, 1).status()));
  EXPECT_TRUE(absl::IsNotFound(blobs_->Read(folder_ + "none", "", 0, 1).status()));
}

TEST_F(AzureStorage, NothingIsWrittenBeyondTheEnd) {
  CreateDisk(kMiB);
  const absl::Status status = WriteAt(kMiB - 512, Bytes(1024, 1));
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("InvalidPageRange"));
  EXPECT_TRUE(blobs_->Ranges(disk_, "")->empty());
}

TEST_F(AzureStorage, RangesComeInPages) {
  CreateDisk(kMiB);
  ExtentSet expected;
  std::vector<PageWrite> writes;
  const std::string page = Bytes(512, 1);
  for (uint64_t offset = 0; offset < 20 * 4096; offset += 4096) {
    writes.push_back({disk_, offset, page, 512});
    expected.Add(Extent{offset, 512});
  }
  ASSERT_TRUE(blobs_->Write(writes, {}).ok());
  Order(R"({"faults": [], "ranges_max": 3})");
  const auto ranges = blobs_->Ranges(disk_, "");
  ASSERT_TRUE(ranges.ok()) << ranges.status();
  EXPECT_EQ(ranges->Ranges(), expected.Ranges());
  EXPECT_THAT(Counts(), HasSubstr(R"("GET pagelist":7)"));
}

TEST_F(AzureStorage, ASnapshotKeepsContentAndHasMetadataOfItsOwn) {
  CreateDisk(kMiB, {{"hw_machine", "m1"}});
  const std::string before = Bytes(kMiB, 1);
  ASSERT_TRUE(WriteAt(0, before).ok());
  const auto snapshot = blobs_->Snapshot(disk_, {{"hw_point", "p1"}}, "");
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  ASSERT_TRUE(WriteAt(0, Bytes(kMiB / 2, 2)).ok());
  ASSERT_TRUE(blobs_->Write({{disk_, kMiB / 2, "", kMiB / 2}}, {}).ok());
  EXPECT_TRUE(ReadAll(*snapshot, kMiB) == before);
  EXPECT_THAT(blobs_->Ranges(disk_, *snapshot)->Ranges(), ElementsAre(Extent{0, kMiB}));
  EXPECT_THAT(blobs_->Ranges(disk_, "")->Ranges(), ElementsAre(Extent{0, kMiB / 2}));
  EXPECT_THAT(blobs_->Properties(disk_, *snapshot)->metadata, ElementsAre(Pair("hw_point", "p1")));
  EXPECT_THAT(blobs_->Properties(disk_, "")->metadata, ElementsAre(Pair("hw_machine", "m1")));
}

TEST_F(AzureStorage, ABlobIsDeletedAfterItsSnapshotsAndBothOnlyOnce) {
  CreateDisk(kMiB);
  ASSERT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
  const auto snapshot = blobs_->Snapshot(disk_, {{"hw_point", "p1"}}, kLeaseA);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  const absl::Status early = blobs_->Delete(disk_, "", kLeaseA);
  EXPECT_TRUE(absl::IsFailedPrecondition(early)) << early;
  EXPECT_TRUE(blobs_->Delete(disk_, *snapshot, "").ok());
  EXPECT_TRUE(blobs_->Delete(disk_, *snapshot, kLeaseA).ok());
  EXPECT_TRUE(absl::IsAborted(blobs_->Delete(disk_, "", "")));
  EXPECT_TRUE(blobs_->Delete(disk_, "", kLeaseA).ok());
  EXPECT_TRUE(blobs_->Delete(disk_, "", kLeaseA).ok());
  EXPECT_TRUE(blobs_->List(folder_)->empty());
}

TEST_F(AzureStorage, AListIsWholeHoweverManyPagesItHas) {
  options_.list_results_max = 2;
  blobs_ = Open(options_);
  std::vector<std::string> expected;
  for (const char* const name : {"a.vhd", "b.vhd", "c.vhd"}) {
    disk_ = folder_ + name;
    CreateDisk(kMiB, {{"hw_machine", name}});
    for (const char* const point : {"p1", "p2"}) {
      ASSERT_TRUE(blobs_->Snapshot(disk_, {{"hw_point", point}}, "").ok());
      expected.push_back(absl::StrCat(name, " ", point));
    }
    expected.push_back(absl::StrCat(name, " ", name));
  }
  Fault("");
  const auto all = blobs_->List(folder_);
  ASSERT_TRUE(all.ok()) << all.status();
  std::vector<std::string> listed;
  for (const BlobProperties& blob : *all) {
    ASSERT_EQ(blob.metadata.size(), 1u);
    listed.push_back(
        absl::StrCat(blob.name.substr(folder_.size()), " ", blob.metadata.begin()->second));
    EXPECT_EQ(blob.bytes, kMiB);
    EXPECT_EQ(blob.snapshot.empty(), blob.metadata.count("hw_machine") == 1);
  }
  EXPECT_EQ(listed, expected);
  EXPECT_THAT(Counts(), Not(HasSubstr(R"("GET list":1})")));
  EXPECT_TRUE(blobs_->List(folder_ + "zzz")->empty());
}

TEST_F(AzureStorage, TheHolderOfALeaseIsTheOnlyOneWhoWrites) {
  CreateDisk(kMiB);
  ASSERT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
  EXPECT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());  // as after a crash
  EXPECT_TRUE(blobs_->Properties(disk_, "")->leased);
  EXPECT_TRUE(WriteAt(0, Bytes(512, 1), kLeaseA).ok());
  const absl::Status taken = blobs_->Lease(disk_, kLeaseB);
  EXPECT_TRUE(absl::IsAborted(taken)) << taken;
  EXPECT_THAT(std::string(taken.message()), HasSubstr("LeaseAlreadyPresent"));
  for (const char* const lease : {"", kLeaseB}) {
    EXPECT_TRUE(absl::IsAborted(WriteAt(0, Bytes(512, 2), lease))) << lease;
    EXPECT_TRUE(absl::IsAborted(blobs_->SetMetadata(disk_, {{"a", "b"}}, "", lease).status()));
  }
  EXPECT_TRUE(absl::IsAborted(blobs_->Snapshot(disk_, {{"a", "b"}}, kLeaseB).status()));
  EXPECT_TRUE(absl::IsAborted(blobs_->ReleaseLease(disk_, kLeaseB)));
  EXPECT_EQ(ReadAll("", 512), Bytes(512, 1));
}

TEST_F(AzureStorage, ALeaseThatIsBrokenIsTakenByTheNextAndLostToTheFirst) {
  CreateDisk(kMiB);
  EXPECT_TRUE(blobs_->BreakLease(disk_).ok());  // there is none
  ASSERT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
  ASSERT_TRUE(blobs_->BreakLease(disk_).ok());
  EXPECT_TRUE(blobs_->BreakLease(disk_).ok());
  // Nobody has it: who had it, may not go on either.
  EXPECT_TRUE(absl::IsAborted(WriteAt(0, Bytes(512, 1), kLeaseA)));
  ASSERT_TRUE(blobs_->Lease(disk_, kLeaseB).ok());
  EXPECT_TRUE(absl::IsAborted(WriteAt(0, Bytes(512, 1), kLeaseA)));
  EXPECT_TRUE(WriteAt(0, Bytes(512, 2), kLeaseB).ok());
  EXPECT_TRUE(blobs_->ReleaseLease(disk_, kLeaseB).ok());
  EXPECT_TRUE(blobs_->ReleaseLease(disk_, kLeaseB).ok());
  EXPECT_FALSE(blobs_->Properties(disk_, "")->leased);
  EXPECT_TRUE(absl::IsNotFound(blobs_->Lease(folder_ + "none", kLeaseA)));
  EXPECT_TRUE(absl::IsNotFound(blobs_->BreakLease(folder_ + "none")));
}

TEST_F(AzureStorage, MetadataIsReplacedWholeAndOnlyAsItWas) {
  const std::string first = CreateDisk(kMiB, {{"hw_machine", "m1"}, {"hw_epoch", "1"}});
  const auto second = blobs_->SetMetadata(disk_, {{"hw_epoch", "2"}}, first, "");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE(*second, first);
  EXPECT_THAT(blobs_->Properties(disk_, "")->metadata, ElementsAre(Pair("hw_epoch", "2")));
  const auto late = blobs_->SetMetadata(disk_, {{"hw_epoch", "3"}}, first, "");
  EXPECT_TRUE(absl::IsAborted(late.status())) << late.status();
  EXPECT_THAT(std::string(late.status().message()), HasSubstr("ConditionNotMet"));
  // Its own effect, as after a lost reply.
  EXPECT_EQ(blobs_->SetMetadata(disk_, {{"hw_epoch", "2"}}, first, "").value_or(""), *second);
  EXPECT_TRUE(blobs_->SetMetadata(disk_, {{"hw_epoch", "4"}}, "", "").ok());
}

TEST_F(AzureStorage, EachPutChangesTheEtag) {
  const std::string first = CreateDisk(kMiB);
  ASSERT_TRUE(WriteAt(0, Bytes(512, 1)).ok());
  EXPECT_TRUE(absl::IsAborted(blobs_->SetMetadata(disk_, {{"a", "b"}}, first, "").status()));
  const std::string now = blobs_->Properties(disk_, "")->etag;
  EXPECT_TRUE(blobs_->SetMetadata(disk_, {{"a", "b"}}, now, "").ok());
}

TEST_F(AzureStorage, AStormOfRefusalsIsWaitedThrough) {
  CreateDisk(16 * kMiB);
  const std::string content = Bytes(16 * kMiB, 4);
  Fault(R"({"method": "PUT", "comp": "page", "kind": "status", "status": 503, "code": "ServerBusy",
            "count": 7},
           {"method": "PUT", "comp": "page", "kind": "status", "status": 429,
            "code": "TooManyRequests", "count": 3},
           {"method": "PUT", "comp": "page", "kind": "status", "status": 500,
            "code": "InternalError", "count": 3})");
  const absl::Status status = WriteAt(0, content);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(ReadAll("", 16 * kMiB) == content);
}

TEST_F(AzureStorage, WhoIsThrottledForLongerThanTheLimitIsToldSo) {
  CreateDisk(kMiB);
  options_.retry.whole = absl::Milliseconds(300);
  blobs_ = Open(options_);
  Fault(
      R"({"comp": "page", "kind": "status", "status": 503, "code": "ServerBusy", "count": 1000})");
  const absl::Status throttled = WriteAt(0, Bytes(512, 1));
  EXPECT_TRUE(absl::IsResourceExhausted(throttled)) << throttled;
  EXPECT_THAT(std::string(throttled.message()), HasSubstr("ServerBusy"));
  EXPECT_THAT(std::string(throttled.message()), HasSubstr("request front-"));
  Fault(R"({"comp": "page", "kind": "status", "status": 500, "code": "InternalError",
            "count": 1000})");
  EXPECT_TRUE(absl::IsUnavailable(WriteAt(0, Bytes(512, 1))));
}

TEST_F(AzureStorage, TheServersRetryAfterIsHonoured) {
  CreateDisk(kMiB);
  Fault(R"({"comp": "page", "kind": "status", "status": 503, "code": "ServerBusy", "count": 1,
            "retry_after": "1"})");
  const absl::Duration begin = clock_.Monotonic();
  ASSERT_TRUE(WriteAt(0, Bytes(512, 1)).ok());
  EXPECT_GE(clock_.Monotonic() - begin, absl::Seconds(1));
  options_.retry.whole = absl::Seconds(5);
  blobs_ = Open(options_);
  Fault(R"({"comp": "page", "kind": "status", "status": 503, "code": "ServerBusy", "count": 1,
            "retry_after": "60"})");
  EXPECT_TRUE(absl::IsResourceExhausted(WriteAt(0, Bytes(512, 1))));
}

TEST_F(AzureStorage, WhatIsCutIsDoneAgainOrFoundDone) {
  for (const char* const kind : {"cut_before", "cut_after", "late_status"}) {
    SCOPED_TRACE(kind);
    const auto lose = [&](const char* method, const char* comp) {
      Fault(absl::StrFormat(R"({"method": "%s", "comp": "%s", "kind": "%s", "status": 500,
                                "code": "OperationTimedOut", "count": 1})",
                            method, comp, kind));
    };
    disk_ = absl::StrCat(folder_, kind);
    lose("PUT", "-");
    std::string etag = CreateDisk(kMiB);
    lose("PUT", "lease");
    EXPECT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
    lose("PUT", "page");
    EXPECT_TRUE(WriteAt(0, Bytes(kMiB, 9), kLeaseA).ok());
    EXPECT_TRUE(ReadAll("", kMiB) == Bytes(kMiB, 9));
    etag = blobs_->Properties(disk_, "")->etag;
    lose("PUT", "metadata");
    const auto after = blobs_->SetMetadata(disk_, {{"hw_epoch", "2"}}, etag, kLeaseA);
    ASSERT_TRUE(after.ok()) << after.status();
    EXPECT_EQ(blobs_->Properties(disk_, "")->etag, *after);
    lose("PUT", "snapshot");
    const auto snapshot = blobs_->Snapshot(disk_, {{"hw_point", "p1"}}, kLeaseA);
    ASSERT_TRUE(snapshot.ok()) << snapshot.status();
    const auto all = blobs_->List(disk_);
    ASSERT_EQ(all->size(), 2u);  // one snapshot
    EXPECT_EQ((*all)[0].snapshot, *snapshot);
    lose("DELETE", "-");
    EXPECT_TRUE(blobs_->Delete(disk_, *snapshot, "").ok());
    EXPECT_EQ(blobs_->List(disk_)->size(), 1u);
    lose("PUT", "lease");
    EXPECT_TRUE(blobs_->ReleaseLease(disk_, kLeaseA).ok());
    ASSERT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
    lose("PUT", "lease");
    EXPECT_TRUE(blobs_->BreakLease(disk_).ok());
    lose("DELETE", "-");
    EXPECT_TRUE(blobs_->Delete(disk_, "", "").ok());
    EXPECT_TRUE(blobs_->List(disk_)->empty());
  }
}

TEST_F(AzureStorage, APutThatArrivesLateDoesNotUndoALaterOne) {
  CreateDisk(kMiB);
  ASSERT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
  // Once: the transport sends it again over another connection. Twice: the client does.
  for (const int times : {1, 2}) {
    Fault(absl::StrFormat(R"({"comp": "page", "kind": "hold", "count": %d})", times));
    ASSERT_TRUE(WriteAt(0, Bytes(4096, 1), kLeaseA).ok());
    ASSERT_TRUE(WriteAt(0, Bytes(4096, 2), kLeaseA).ok());
    Order(R"({"release": true})");  // what was held arrives
    EXPECT_TRUE(ReadAll("", 4096) == Bytes(4096, 2)) << times;
  }
}

TEST_F(AzureStorage, APutOfAFormerLifeDoesNotArriveInThisOne) {
  CreateDisk(kMiB);
  ASSERT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
  options_.retry.whole = absl::ZeroDuration();
  blobs_ = Open(options_);
  Fault(R"({"comp": "page", "kind": "hold", "count": 2})");
  const absl::Status lost = WriteAt(0, Bytes(4096, 1), kLeaseA);
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  blobs_ = Open(options_);  // as after a crash: the same lease
  ASSERT_TRUE(WriteAt(0, Bytes(4096, 2), kLeaseA).ok());
  Order(R"({"release": true})");
  EXPECT_TRUE(ReadAll("", 4096) == Bytes(4096, 2));
}

TEST_F(AzureStorage, ALeaseThatIsLostInTheMiddleOfAWriteEndsIt) {
  CreateDisk(48 * kMiB);
  ASSERT_TRUE(blobs_->Lease(disk_, kLeaseA).ok());
  Fault(R"({"comp": "page", "kind": "take_lease", "skip": 5, "count": 1})");
  const absl::Status status = WriteAt(0, Bytes(48 * kMiB, 1), kLeaseA);
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(" Lease"));  // another's, or none yet
}

TEST_F(AzureStorage, ContentThatChangesOnItsWayIsSentAgain) {
  CreateDisk(kMiB);
  Fault(R"({"comp": "page", "kind": "corrupt", "count": 2})");
  ASSERT_TRUE(WriteAt(0, Bytes(kMiB, 6)).ok());
  EXPECT_THAT(Counts(), HasSubstr(R"("PUT page":3)"));
  EXPECT_TRUE(ReadAll("", kMiB) == Bytes(kMiB, 6));
}

TEST_F(AzureStorage, ACallThatIsCancelledEndsSoon) {
  CreateDisk(kMiB);
  std::atomic<bool> cancelled{false};
  options_.cancelled = &cancelled;
  options_.retry.whole = absl::Hours(1);
  blobs_ = Open(options_);
  Fault(R"({"comp": "page", "kind": "status", "status": 503, "code": "ServerBusy", "count": 9,
            "retry_after": "600"})");
  std::thread owner([&] { cancelled = true; });
  EXPECT_TRUE(absl::IsCancelled(WriteAt(0, Bytes(512, 1))));
  owner.join();
}

TEST_F(AzureStorage, AnotherKeyIsNotTaken) {
  options_.credential = AccountKey{absl::Base64Escape(Bytes(64, 1))};
  const absl::Status status = Open(options_)->List("").status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("check the key"));
}

TEST_F(AzureStorage, ACertificateThatIsNotTrustedIsNotSpokenTo) {
  options_.trusted.clear();  // those of this host
  const absl::Status status = Open(options_)->List("").status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
}

TEST_F(AzureStorage, AContainerThatIsNotThereIsNamed) {
  options_.url += "2";
  const absl::Status status = Open(options_)->List("").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("create the container"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(options_.url));
}

TEST_F(AzureStorage, ATokenOpensTheContainer) {
  UnsignedTokens tokens(clock_);
  options_.credential = &tokens;
  blobs_ = Open(options_);
  CreateDisk(kMiB);
  ASSERT_TRUE(WriteAt(0, Bytes(kMiB, 1)).ok());
  EXPECT_TRUE(ReadAll("", kMiB) == Bytes(kMiB, 1));
}

TEST_F(AzureStorage, ASharedAccessSignatureOfAzuresOwnSdkOpensTheContainer) {
  const std::string file = absl::StrCat(directory_, "/signature");
  const absl::Status made = Sdk(absl::StrFormat(R"("do":"sas","file":"%s")", file));
  ASSERT_TRUE(made.ok()) << made;
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  options_.credential = SharedAccessSignature{text.str()};
  blobs_ = Open(options_);
  const std::string etag = CreateDisk(kMiB);
  ASSERT_TRUE(WriteAt(0, Bytes(kMiB, 1)).ok());
  EXPECT_TRUE(blobs_->Snapshot(disk_, {{"hw_point", "p1"}}, "").ok());
  EXPECT_EQ(blobs_->List(folder_)->size(), 2u);
  EXPECT_THAT(blobs_->Ranges(disk_, "")->Ranges(), ElementsAre(Extent{0, kMiB}));
}

TEST_F(AzureStorage, AzuresOwnSdkReadsWhatWasWritten) {
  CreateDisk(2 * kMiB, {{"hw_machine", "m1"}, {"hw_replica", "r1"}});
  std::string expected(2 * kMiB, '\0');
  const std::string first = Bytes(kMiB + 512, 1), second = Bytes(4096, 2);
  expected.replace(0, first.size(), first);
  ASSERT_TRUE(WriteAt(0, first).ok());
  const auto snapshot = blobs_->Snapshot(disk_, {{"hw_point", "p1"}}, "");
  ASSERT_TRUE(snapshot.ok());
  const auto check = [&](const std::string& id, const char* metadata, const std::string& ranges) {
    return Sdk(absl::StrFormat(
        R"("do":"check","blob":"%s","snapshot":"%s","bytes":%d,"metadata":%s,"ranges":%s,"content":"%s")",
        disk_, id, expected.size(), metadata, ranges, absl::Base64Escape(expected)));
  };
  EXPECT_TRUE(check(*snapshot, R"({"hw_point":"p1"})", "[[0,1049088]]").ok());
  expected.replace(4096, second.size(), second);
  expected.replace(65536, 65536, std::string(65536, '\0'));
  ASSERT_TRUE(WriteAt(4096, second).ok());
  ASSERT_TRUE(blobs_->Write({{disk_, 65536, "", 65536}}, {}).ok());
  const char kMetadata[] = R"({"hw_machine":"m1","hw_replica":"r1"})";
  EXPECT_TRUE(check("", kMetadata, "[[0,65536],[131072,918016]]").ok());
  expected[70000] = 1;
  EXPECT_FALSE(check("", kMetadata, "[[0,65536],[131072,918016]]").ok()) << "it tells them apart";
}

// The model that unit tests use answers as the account does, to the same calls.
class Contract {
 public:
  explicit Contract(PageBlobs* blobs, std::string disk) : blobs_(*blobs), disk_(std::move(disk)) {}

  std::vector<std::string> Run() {
    const std::string page = Bytes(512, 1);
    Say(blobs_.Create(disk_, kMiB, {{"a", "1"}}).status());
    Say(blobs_.Create(disk_, kMiB, {{"a", "1"}}).status());
    Say(blobs_.Create(disk_, kMiB, {{"a", "2"}}).status());
    const std::string etag = blobs_.Properties(disk_, "").value_or(BlobProperties()).etag;
    Say(blobs_.Write({{disk_, 0, page, 512}, {disk_, 4096, page, 512}}, {}));
    Say(blobs_.Write({{disk_, kMiB, page, 512}}, {}));
    Say(blobs_.Write({{disk_ + "x", 0, page, 512}}, {}));
    Say(blobs_.Write({{disk_, 0, page, 512}}, {{disk_, kLeaseA}}));
    Say(blobs_.SetMetadata(disk_, {{"a", "3"}}, etag, "").status());
    Say(blobs_.SetMetadata(disk_, {{"a", "1"}}, etag, "").status());
    Say(blobs_.SetMetadata(disk_, {{"a", "3"}}, "", kLeaseA).status());
    Say(blobs_.ReleaseLease(disk_, kLeaseA));
    Say(blobs_.Lease(disk_, kLeaseA));
    Say(blobs_.Lease(disk_, kLeaseA));
    Say(blobs_.Lease(disk_, kLeaseB));
    Say(blobs_.ReleaseLease(disk_, kLeaseB));
    Say(blobs_.Create(disk_, 2 * kMiB, {}).status());
    Say(blobs_.Write({{disk_, 0, "", 512}}, {}));
    Say(blobs_.Write({{disk_, 0, "", 512}}, {{disk_, kLeaseB}}));
    Say(blobs_.Write({{disk_, 0, "", 512}}, {{disk_, kLeaseA}}));
    const auto snapshot = blobs_.Snapshot(disk_, {{"p", "1"}}, "");
    Say(snapshot.status());
    Say(blobs_.Snapshot(disk_, {{"p", "2"}}, kLeaseB).status());
    Say(blobs_.Snapshot(disk_, {}, kLeaseA).status());
    Say(blobs_.Write({{disk_, 0, page, 512}}, {{disk_, kLeaseA}}));
    Say(blobs_.Delete(disk_, "", kLeaseA));
    for (const std::string& id : {std::string(), snapshot.value_or("")}) {
      const auto ranges = blobs_.Ranges(disk_, id);
      for (const Extent& extent : ranges.value_or(ExtentSet()).Ranges())
        said_.push_back(absl::StrCat(extent.offset, "+", extent.length));
      said_.push_back(blobs_.Read(disk_, id, 1, 5000).value_or("") == std::string(5000, '\0')
                          ? "zeros"
                          : "bytes");
    }
    Say(blobs_.Read(disk_, "", kMiB - 1, 2).status());
    Say(blobs_.Read(disk_, "2020-01-01T00:00:00.0000000Z", 0, 1).status());
    Say(blobs_.Properties(disk_ + "x", "").status());
    const auto all = blobs_.List(disk_);
    for (const BlobProperties& blob : all.value_or(std::vector<BlobProperties>())) {
      said_.push_back(absl::StrCat(blob.name == disk_, blob.snapshot.empty(), blob.leased, " ",
                                   absl::StrJoin(blob.metadata, ",", absl::PairFormatter("="))));
    }
    Say(blobs_.BreakLease(disk_));
    Say(blobs_.BreakLease(disk_));
    Say(blobs_.Delete(disk_, snapshot.value_or(""), ""));
    Say(blobs_.Delete(disk_, snapshot.value_or(""), ""));
    Say(blobs_.Delete(disk_, "", ""));
    Say(blobs_.Delete(disk_, "", ""));
    Say(blobs_.Lease(disk_, kLeaseA));
    Say(blobs_.BreakLease(disk_));
    Say(blobs_.ReleaseLease(disk_, kLeaseA));
    return said_;
  }

 private:
  void Say(const absl::Status& status) {
    said_.push_back(absl::StrCat(said_.size(), " ", absl::StatusCodeToString(status.code())));
  }
  PageBlobs& blobs_;
  const std::string disk_;
  std::vector<std::string> said_;
};

TEST_F(AzureStorage, TheModelAnswersAsTheAccountDoes) {
  ModelContainer container;
  ModelPageBlobs model(&container);
  EXPECT_EQ(Contract(&model, disk_).Run(), Contract(blobs_.get(), disk_).Run());
}

}  // namespace
}  // namespace homeward::azure
