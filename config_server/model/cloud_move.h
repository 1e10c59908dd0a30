// CloudMove: what is asked of Azure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_MOVE_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_MOVE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "homeward/types/v1/types.pb.h"

namespace homeward {

// What was made for a machine, or is to be, is to be brought into another state, from whatever
// state it is in. All has names that say whose it is, and tags that prove it.
struct CloudMove {
  enum class Kind {
    kCreateDisks,  // imported from snapshots of page blobs
    kCreateVm,     // with its network card, from the disks; it runs then
    kTurnOff,      // the guest is asked to stop; then deallocated
    kTurnOn,
    kDelete  // VM, network card and disks, each only if it is ours
  };
  struct Disk {
    std::string name;
    std::string source_url;
    uint64_t size_bytes = 0;
    bool operator==(const Disk&) const = default;
  };

  Kind kind = Kind::kCreateDisks;
  std::string job_id;  // the same for another job is another move
  std::string site;
  std::string subscription, resource_group, region;
  std::string vm, nic;
  std::string size, subnet;
  bool uefi = false;
  types::v1::OsType os_type = types::v1::OS_TYPE_UNSPECIFIED;
  std::vector<Disk> disks;  // the first is the one that it boots from
  uint64_t generation = 0;
  // Tried until it is done: for undoing.
  bool for_ever = false;
  bool operator==(const CloudMove&) const = default;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_MOVE_H_
