#include "mobility_agent/guest/guest_record.h"

#include "tests/golden/golden.h"

namespace homeward {
namespace {

GuestRecord Example() {
  GuestRecord record;
  record.home = GuestLocation::kVmware;
  record.network = {.phase = GuestPhase::kAway,
                    .kinds = {"ifupdown"},
                    .kept = {{.path = "/etc/n", .kept = "/k/n", .yields = true}},
                    .written = {{.path = "/etc/n", .content = "dhcp"}}};
  record.tools = {.phase = GuestPhase::kLeaving,
                  .packages = {{.name = "open-vm-tools", .version = "2:1", .chosen = true}},
                  .services = {{.name = "vgauth.service", .state = "enabled"}},
                  .kept = {{.path = "/etc/t", .kept = "/k/t"}}};
  return record;
}

TEST(GuestRecord, WhatVersion1WroteIsReadAndNothingDamagedIs) {
  testing::ExpectGolden("guest_record_v1.bin", EncodeGuestRecord(Example()));
  const std::string golden = testing::ReadGolden("guest_record_v1.bin");
  const absl::StatusOr<GuestRecord> read = DecodeGuestRecord(golden);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == Example());
  for (size_t at = 0; at < golden.size(); ++at) {
    std::string damaged = golden;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    EXPECT_FALSE(DecodeGuestRecord(damaged).ok()) << "byte " << at;
    EXPECT_FALSE(DecodeGuestRecord(golden.substr(0, at)).ok()) << at << " bytes";
  }
}

TEST(GuestLocation, IsWhatTheFirmwareSays) {
  EXPECT_EQ(GuestLocationOf({.sys_vendor = "Microsoft Corporation",
                             .chassis_asset_tag = "7783-7084-3265-9085-8269-3286-77"}),
            GuestLocation::kAzure);
  // Hyper-V on somebody's own hardware.
  EXPECT_EQ(GuestLocationOf({.sys_vendor = "Microsoft Corporation", .chassis_asset_tag = "1"}),
            GuestLocation::kOther);
  EXPECT_EQ(GuestLocationOf({.sys_vendor = "VMware, Inc.", .chassis_asset_tag = "No Asset Tag"}),
            GuestLocation::kVmware);
  EXPECT_EQ(GuestLocationOf({}), GuestLocation::kOther);
  EXPECT_EQ(GuestLocationNamed("azure"), GuestLocation::kAzure);
  EXPECT_EQ(GuestLocationNamed("Azure"), GuestLocation::kOther);
}

}  // namespace
}  // namespace homeward
