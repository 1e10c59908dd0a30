#include "common/vmdk/vmdk.h"

#include "common/base/limits.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

constexpr char kUuid[] = "6000c29a00112233445566778899aabb";

TEST(Vmdk, HasTheGoldenDescriptor) {
  testing::ExpectGolden("vmdk_descriptor.txt",
                        FormatVmdkDescriptor({2 * kGiB, 0x12345678, kUuid, "disk0-flat.vmdk"}));
}

TEST(Vmdk, DescriptorComesBack) {
  const auto parsed =
      ParseVmdkDescriptor(FormatVmdkDescriptor({kVmdkBytesMax, 7, kUuid, "d-flat.vmdk"}));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->size_bytes, kVmdkBytesMax);
  EXPECT_EQ(parsed->uuid, kUuid);
  EXPECT_EQ(parsed->flat_name, "d-flat.vmdk");
}

TEST(Vmdk, AnExtentOutsideItsDirectoryIsRefused) {
  std::string text = FormatVmdkDescriptor({kGiB, 7, kUuid, "../../etc/passwd"});
  EXPECT_EQ(ParseVmdkDescriptor(text).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Vmdk, ANameThatADescriptorCannotHoldIsRefusedBeforeAnythingIsMade) {
  EXPECT_TRUE(CheckVmdkName("web 1 'north' %2f").ok());
  EXPECT_EQ(CheckVmdkName("a\"b").message(), "has a quotation mark (\")");
  EXPECT_EQ(CheckVmdkName("a\nb").message(), "has a control character (U+000a) at byte 2");
  EXPECT_EQ(CheckVmdkName(std::string(81, 'a')).message(),
            "has 81 bytes; 80 are allowed, and a character that is not ASCII has two to four");
  MemoryDisk disk(1);
  for (const char* const name : {"a\"b", "a\nb", "a\"\nRW 1 VMFS \"x"}) {
    bool created = false;
    const auto opened = OpenOrCreateVmdk(
        disk,
        {.directory = "/ds/vm", .name = name, .size_bytes = 4096, .uuid = kUuid, .content_id = 1},
        &created);
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kFailedPrecondition) << name;
  }
  EXPECT_TRUE(disk.Paths().empty());
}

TEST(Vmdk, AnotherDiskInItsPlaceIsLeftAlone) {
  MemoryDisk disk(1);
  bool created = false;
  VmdkOptions options{
      .directory = "/ds/vm", .name = "d", .size_bytes = 4096, .uuid = kUuid, .content_id = 1};
  ASSERT_TRUE(OpenOrCreateVmdk(disk, options, &created).ok());
  EXPECT_TRUE(created);
  ASSERT_TRUE(OpenOrCreateVmdk(disk, options, &created).ok());
  EXPECT_FALSE(created);
  options.size_bytes = 8192;
  EXPECT_EQ(OpenOrCreateVmdk(disk, options, &created).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(disk.Content("/ds/vm/d-flat.vmdk").size(), 4096);
}

}  // namespace
}  // namespace homeward
