// The locations that there are. A new one is declared here and added to the table in locations.cc;
// what is done there goes beside the others of config_server/workflows.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_LOCATIONS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_LOCATIONS_H_

#include "config_server/model/location_rules.h"

namespace homeward {

// A directory in a datastore that is mounted on the master target, or block devices of it.
class DatastoreDirectoryRules : public LocationRules {
 public:
  storage::v1::Location kind() const override { return storage::v1::DATASTORE_DIRECTORY; }
  bool starts_machines() const override { return false; }
  bool IsMeant(const storage::v1::Machine& machine, const PlacementWish& wish) const override;
  Refusal Place(const View& view, const storage::v1::Machine& machine, const PlacementWish& wish,
                storage::v1::Placement* placement) const override;
  control::v1::Target TargetFor(const storage::v1::Machine& machine) const override;
};

// The disks of a VM, attached to the master target's VM meanwhile.
class VmRules : public LocationRules {
 public:
  bool has_vm() const override { return true; }
  // Of several master targets, one that reaches the VM's disks.
  Refusal Place(const View& view, const storage::v1::Machine& machine, const PlacementWish& wish,
                storage::v1::Placement* placement) const override;
  Refusal CheckFailback(const View& view, const storage::v1::Machine& machine) const override;
  control::v1::Target TargetFor(const storage::v1::Machine& machine) const override;

 private:
  // What is wished for that the location does not leave to choose.
  virtual Refusal CheckWish(const PlacementWish& wish) const = 0;
  virtual Refusal ChooseVm(const View& view, const storage::v1::Machine& machine,
                           const PlacementWish& wish, const storage::v1::Server& master_target,
                           storage::v1::Placement* placement) const = 0;
};

// The VM that the machine was.
class OriginalVmRules : public VmRules {
 public:
  storage::v1::Location kind() const override { return storage::v1::ORIGINAL_VM; }
  bool has_snapshots() const override { return true; }
  bool IsMeant(const storage::v1::Machine& machine, const PlacementWish& wish) const override;

 private:
  Refusal CheckWish(const PlacementWish& wish) const override;
  Refusal ChooseVm(const View& view, const storage::v1::Machine& machine, const PlacementWish& wish,
                   const storage::v1::Server& master_target,
                   storage::v1::Placement* placement) const override;
};

// A VM that is made for the machine.
class AlternateVmRules : public VmRules {
 public:
  storage::v1::Location kind() const override { return storage::v1::ALTERNATE_VM; }
  bool makes_vm() const override { return true; }
  bool IsMeant(const storage::v1::Machine& machine, const PlacementWish& wish) const override;

 private:
  Refusal CheckWish(const PlacementWish& wish) const override;
  Refusal ChooseVm(const View& view, const storage::v1::Machine& machine, const PlacementWish& wish,
                   const storage::v1::Server& master_target,
                   storage::v1::Placement* placement) const override;
};

// A VM in Azure that is made from page blobs. Who writes them receives the stream from the agent
// itself.
class AzureVmRules : public LocationRules {
 public:
  storage::v1::Location kind() const override { return storage::v1::AZURE_VM; }
  bool has_relay() const override { return false; }
  bool remakes_machine() const override { return true; }
  bool can_test() const override { return true; }
  const char* failback_word() const override { return "failover"; }
  bool IsMeant(const storage::v1::Machine& machine, const PlacementWish& wish) const override;
  Refusal Place(const View& view, const storage::v1::Machine& machine, const PlacementWish& wish,
                storage::v1::Placement* placement) const override;
  Refusal PlaceProcessServer(const View& view, const storage::v1::Machine& machine,
                             const std::string& wish,
                             storage::v1::Placement* placement) const override;
  Refusal CheckFailback(const View& view, const storage::v1::Machine& machine) const override;
  Refusal CheckCommit(const storage::v1::Machine& machine) const override;
  // Empty: the isolated subnet of its site.
  Refusal CheckTest(const View& view, const storage::v1::Machine& machine,
                    const std::string& subnet) const override;
  control::v1::Target TargetFor(const storage::v1::Machine& machine) const override;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_LOCATIONS_H_
