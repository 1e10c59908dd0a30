#include "process_server/azure/page_blob_replica.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "process_server/azure/overlay.h"
#include "process_server/azure/page_blob_doubles.h"
#include "process_server/azure/vhd_footer.h"
#include "tests/golden/golden.h"

namespace homeward::testing {
namespace {

// What others make of it. Skipped where there is no qemu-img.
TEST(PageBlobFormat, QemuReadsItWithTheRightSizeAndContent) {
  if (std::system("qemu-img --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "needs qemu-img, to read the disks as VHDs";
  char pattern[] = "/tmp/homeward-vhd-XXXXXX";
  const std::string directory = ::mkdtemp(pattern);
  for (const uint64_t bytes : {kMiB, 37 * kMiB, 130 * kMiB, 520 * kMiB}) {
    const std::string vhd = directory + "/disk.vhd", raw = directory + "/disk.raw";
    for (const std::string& path : {vhd, raw}) {
      std::ofstream file(path, std::ios::binary);
      file.seekp(static_cast<std::streamoff>(bytes - 512));
      file << std::string(512, 'x');
      if (path == vhd) file << VhdFooter(bytes, "00000000000000000000000000000001");
    }
    const std::string back = directory + "/back.raw";
    const std::string convert =
        absl::StrCat("qemu-img convert -f vpc -O raw ", vhd, " ", back, " && cmp ", raw, " ", back);
    EXPECT_EQ(std::system(convert.c_str()), 0) << bytes;
  }
  std::filesystem::remove_all(directory);
}

TEST(PageBlobFormat, IsAsItWasRecorded) {
  const DiskTag disk{"m1", "00000000000000000000000000000001"};
  const StreamState at_point{{1, 3}, 2, false};
  const azure::Metadata blob = Encode(disk, ReplicaTag{.replica_id = "r1",
                                                       .state = {{1, 4}, 2, false},
                                                       .opened = 1,
                                                       .written_bytes = 4096,
                                                       .oldest = 1});
  const azure::Metadata snapshot =
      Encode(disk, PointTag{.replica_id = "r1",
                            .point = {{.time = absl::FromUnixSeconds(3),
                                       .id = "p1",
                                       .consistency = Consistency::kFrozen,
                                       .how = "stood still"},
                                      1},
                            .state = at_point});
  std::string text = "blob\n";
  for (const auto& [name, value] : blob) absl::StrAppend(&text, name, " ", value, "\n");
  text += "snapshot\n";
  for (const auto& [name, value] : snapshot) absl::StrAppend(&text, name, " ", value, "\n");
  testing::ExpectGolden("page_blob_replica_v1.txt", text);
  testing::ExpectGolden("vhd_footer_v1.bin", VhdFooter(kMiB, disk.disk_uuid));
}

TEST(PageBlobFormat, AnIdOfAnyBytesIsReadAsItWasWritten) {
  for (const std::string& id :
       {std::string("p1"), std::string("\x01\xff y"), std::string("base64:x"), std::string()}) {
    PointTag tag{.replica_id = id, .point = {{.id = id}, 1}};
    const azure::Metadata metadata = Encode(DiskTag{"m", "d"}, tag);
    EXPECT_TRUE(azure::CheckMetadata(metadata).ok());
    const auto read = DecodePoint(metadata);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->point.marker.id, id);
    EXPECT_EQ(read->replica_id, id);
  }
}

TEST(Overlay, IsWhatTheWritesComeToInOrder) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    constexpr uint64_t kPages = 24;
    std::deque<std::string> contents;
    std::vector<DiskWrite> writes;
    Disks wanted(2, std::string(kPages * 512, '?'));
    Disks got = wanted;
    for (uint64_t i = random() % 12; i > 0; --i) {
      const uint32_t disk = random() % 2;
      const uint64_t from = random() % kPages, pages = 1 + random() % (kPages - from);
      const Extent extent{from * 512, pages * 512};
      if (random() % 3 == 0) {
        writes.push_back({disk, extent, {}});
        wanted[disk].replace(extent.offset, extent.length, extent.length, '\0');
        continue;
      }
      contents.emplace_back(extent.length, static_cast<char>('a' + random() % 26));
      for (size_t at = 0; at < extent.length; at += 512)
        contents.back()[at] = static_cast<char>(random());
      writes.push_back({disk, extent, contents.back()});
      wanted[disk].replace(extent.offset, extent.length, contents.back());
    }
    const std::vector<DiskWrite> overlay = Overlay(writes, 2048);
    std::vector<ExtentSet> seen(2);
    for (const DiskWrite& write : overlay) {
      EXPECT_EQ(seen[write.disk].Missing(write.extent), std::vector<Extent>{write.extent})
          << "twice";
      seen[write.disk].Add(write.extent);
      if (write.content.empty()) {
        got[write.disk].replace(write.extent.offset, write.extent.length, write.extent.length,
                                '\0');
        continue;
      }
      EXPECT_LE(write.extent.length, 2048u);
      ASSERT_EQ(write.content.size(), write.extent.length);
      got[write.disk].replace(write.extent.offset, write.extent.length, write.content.Joined());
    }
    EXPECT_TRUE(got == wanted);
  }
}

TEST(Overlay, JoinsWhatLiesSideBySide) {
  const std::string page(512, 'x');
  const std::vector<DiskWrite> overlay = Overlay({{0, {1024, 512}, page},
                                                  {0, {512, 512}, page},
                                                  {0, {0, 512}, page},
                                                  {1, {0, 512}, {}},
                                                  {1, {512, 512}, {}}},
                                                 1024);
  ASSERT_EQ(overlay.size(), 3u);
  EXPECT_EQ(overlay[0].extent, (Extent{0, 1024}));
  EXPECT_EQ(overlay[2].extent, (Extent{0, 1024}));
}

}  // namespace
}  // namespace homeward::testing
