#include "config_server/model/control_messages.h"

namespace homeward {

storage::v1::Registration ToStorage(const control::v1::Registration& registration) {
  storage::v1::Registration stored;
  stored.set_name(registration.name());
  stored.set_version(registration.version());
  stored.set_boot_id(registration.boot_id());
  stored.set_hardware_uuid(registration.hardware_uuid());
  stored.set_os_type(registration.os_type());
  stored.set_os_name(registration.os_name());
  *stored.mutable_disks() = registration.disks();
  stored.set_replication_address(registration.replication_address());
  *stored.mutable_unusable_disks() = registration.unusable_disks();
  *stored.mutable_mac_addresses() = registration.mac_addresses();
  return stored;
}

}  // namespace homeward
