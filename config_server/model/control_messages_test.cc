#include "config_server/model/control_messages.h"

#include "gtest/gtest.h"

namespace homeward {
namespace {

control::v1::Registration Registered() {
  control::v1::Registration registration;
  registration.set_role(types::v1::AGENT);
  registration.set_host_id("an id");
  registration.set_name("web");
  registration.set_version("1.2");
  registration.set_boot_id("a boot");
  registration.set_hardware_uuid("a UUID");
  registration.set_os_type(types::v1::LINUX);
  registration.set_os_name("Debian");
  registration.add_disks()->set_name("/dev/sda");
  registration.set_replication_address("web:1");
  registration.mutable_booted_at()->set_seconds(1);
  registration.add_unusable_disks()->set_reason("it is removable");
  registration.add_mac_addresses("0050569f0001");
  registration.set_incarnation("a start");
  registration.mutable_running_for()->set_seconds(2);
  registration.set_firmware("efi");
  registration.set_encrypts_streams(true);
  registration.set_compresses_encrypted(true);
  registration.set_data_channel_port(9444);
  registration.set_ends_unchecked(true);
  return registration;
}

// So a registration that schema 1 stored whole is read as it is.
TEST(ControlMessages, WhatIsStoredOfARegistrationIsTheSameBytes) {
  storage::v1::Registration stored_whole;
  ASSERT_TRUE(stored_whole.ParseFromString(Registered().SerializeAsString()));
  stored_whole.DiscardUnknownFields();
  const storage::v1::Registration stored = ToStorage(Registered());
  EXPECT_EQ(stored.SerializeAsString(), stored_whole.SerializeAsString());
  EXPECT_EQ(stored.replication_address(), "web:1");
  EXPECT_EQ(stored.mac_addresses_size(), 1);
}

TEST(ControlMessages, AllThatIsStoredOfARegistrationIsFilled) {
  const storage::v1::Registration stored = ToStorage(Registered());
  std::vector<const google::protobuf::FieldDescriptor*> filled;
  stored.GetReflection()->ListFields(stored, &filled);
  EXPECT_EQ(static_cast<int>(filled.size()), stored.GetDescriptor()->field_count());
}

}  // namespace
}  // namespace homeward
