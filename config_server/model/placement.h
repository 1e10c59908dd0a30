// Placement: which servers, disks and place a machine is replicated to. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_PLACEMENT_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_PLACEMENT_H_

#include <optional>
#include <string>
#include <vector>

#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

// What an operator asked for, before it is complete.
struct PlacementWish {
  std::vector<std::string> disks = {};
  std::string process_server = {};
  std::string master_target = {};
  std::string datastore = {};
  std::string directory = {};
  std::vector<std::string> block_devices = {};  // instead of datastore and directory
  // Of a new VM; empty and 0: as it was.
  struct NewVm {
    std::string instance_uuid = {};  // a fresh one
    std::string name = {};
    int32_t cpus = 0;
    int64_t memory_mb = 0;
    std::string firmware = {}, guest_id = {}, network = {};
  } new_vm = {};
  bool remove_snapshots = false;  // of the original VM
  bool hyperv = false;            // always refused
  std::string vm = {};            // which VM the machine is, or was, as an operator names it
  // Of a VM in Azure. Empty: the only site; what the site says; the firmware that the machine's VM
  // has, otherwise what its agent says, otherwise BIOS.
  struct Azure {
    std::string site = {}, size = {}, subnet = {}, firmware = {};
  } azure = {};
  // Nothing: the original VM, where the machine was one and runs elsewhere now.
  std::optional<storage::v1::Location> location = {};
};

// Chooses servers, datastore and disks. On a refusal nothing is chosen.
struct Placed {
  storage::v1::Placement placement;
  std::string chosen_vm = {};  // what to record of PlacementWish::vm
  Refusal refusal;
};
Placed Place(const View& view, const storage::v1::Machine& machine, const PlacementWish& wish);

// The machine's process server: what its stream passes through, or ends at. Empty: it has none.
std::string ProcessServerOf(const storage::v1::Machine& machine);
// Requires: the machine has an assignment.
void SetProcessServer(const std::string& host_id, storage::v1::Machine* machine);

// What locations choose with (LocationRules::Place). Each writes what it chose to the placement.
//
// The master target that is wished for, or else the one with the fewest machines.
Refusal PlaceMasterTarget(const View& view, const storage::v1::Machine& machine,
                          const PlacementWish& wish, storage::v1::Placement* placement);
// The master target has reported, and has room for points.
Refusal CheckRetention(const View& view, const std::string& master_target_id);
// The same bytes are other sectors in a VMDK, and the partition table could not be read.
Refusal CheckVmdkSectors(const storage::v1::Placement& placement);
// What a disk or a device counts its sectors in; those that do not tell are as nearly all are.
inline constexpr uint32_t kVmdkSectorBytes = 512;
template <typename Disk>
uint32_t SectorBytesOf(const Disk& disk) {
  return disk.logical_sector_bytes() == 0 ? kVmdkSectorBytes : disk.logical_sector_bytes();
}

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_PLACEMENT_H_
