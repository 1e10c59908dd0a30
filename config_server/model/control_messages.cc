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
  stored.set_firmware(registration.firmware());
  stored.set_encrypts_streams(registration.encrypts_streams());
  stored.set_compresses_encrypted(registration.compresses_encrypted());
  stored.set_data_channel_port(registration.data_channel_port());
  stored.set_ends_unchecked(registration.ends_unchecked());
  return stored;
}

control::v1::ReplicaPhase ToControl(storage::v1::ReplicaPhase phase) {
  switch (phase) {
    case storage::v1::FOLLOW:
      return control::v1::FOLLOW;
    case storage::v1::RECOVER:
      return control::v1::RECOVER;
    case storage::v1::RELEASE:
      return control::v1::RELEASE;
    case storage::v1::DELETE:
      return control::v1::DELETE;
    default:
      return control::v1::REPLICA_PHASE_UNSPECIFIED;
  }
}

control::v1::Target ToControl(const storage::v1::Target& target) {
  control::v1::Target told;
  switch (target.kind_case()) {
    case storage::v1::Target::kDatastoreDirectory:
      told.mutable_datastore_directory()->set_datastore(target.datastore_directory().datastore());
      told.mutable_datastore_directory()->set_directory(target.datastore_directory().directory());
      break;
    case storage::v1::Target::kBlockDevices:
      *told.mutable_block_devices()->mutable_paths() = target.block_devices().paths();
      break;
    case storage::v1::Target::kPageBlobs:
      told.mutable_page_blobs()->set_container_url(target.page_blobs().container_url());
      *told.mutable_page_blobs()->mutable_blobs() = target.page_blobs().blobs();
      break;
    case storage::v1::Target::KIND_NOT_SET:
      break;
  }
  return told;
}

}  // namespace homeward
