// LocationRules: what a place that machines are replicated to can do, and what it asks for. Pure.
// What is done there is a Location's (config_server/workflows/location.h).
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_LOCATION_RULES_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_LOCATION_RULES_H_

#include "config_server/model/placement.h"
#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

class LocationRules {
 public:
  virtual ~LocationRules() = default;
  virtual storage::v1::Location kind() const = 0;

  // The replica's disks are those of a VM: its vCenter is asked, and they can be repaired.
  virtual bool has_vm() const { return false; }
  // It makes the VM, which can be described (PlacementWish::new_vm).
  virtual bool makes_vm() const { return false; }
  // The VM was there before and may have snapshots, which can be removed.
  virtual bool has_snapshots() const { return false; }
  // The machine is started there, so what it ran in is turned off. Where an operator starts it, he
  // turns that off too.
  virtual bool starts_machines() const { return true; }
  // A process server is between the agent and the receiver. Otherwise it is the receiver, and any
  // that reaches the disks can be it.
  virtual bool has_relay() const { return true; }
  // What the machine runs in is made from a recovery point, and can be made anew from another one
  // until that is committed, whatever the machine has written since.
  virtual bool remakes_machine() const { return false; }
  // A copy of the machine can be started there while it is replicated.
  virtual bool can_test() const { return false; }
  // What operators call it to have the machine run there.
  virtual const char* failback_word() const { return "failback"; }

  // An operator who named no location means this one. At most one says so.
  virtual bool IsMeant(const storage::v1::Machine& machine, const PlacementWish& wish) const = 0;
  // Chooses the receiver, and where the disks are. Those are in `placement` already. After a
  // refusal the placement is of no use.
  virtual Refusal Place(const View& view, const storage::v1::Machine& machine,
                        const PlacementWish& wish, storage::v1::Placement* placement) const = 0;
  // Chooses another process server for a machine that is replicated there: `wish`, or any other one
  // if that is empty.
  virtual Refusal PlaceProcessServer(const View& view, const storage::v1::Machine& machine,
                                     const std::string& wish,
                                     storage::v1::Placement* placement) const;
  // Whether the machine can come home there now, as far as the location knows.
  virtual Refusal CheckFailback(const View& view, const storage::v1::Machine& machine) const {
    return std::nullopt;
  }
  // Whether it can stay there now that it was brought there.
  virtual Refusal CheckCommit(const storage::v1::Machine& machine) const { return std::nullopt; }
  // Whether a copy of it can be started there now, in `subnet`.
  virtual Refusal CheckTest(const View& view, const storage::v1::Machine& machine,
                            const std::string& subnet) const {
    return std::nullopt;
  }
  // Which disks the machine's replica there is, as its receiver is told.
  virtual control::v1::Target TargetFor(const storage::v1::Machine& machine) const = 0;
};

const LocationRules& RulesOf(storage::v1::Location location);
// Where the machine is replicated to; of one that is not, any.
const LocationRules& RulesOf(const storage::v1::Machine& machine);
// Where the wish means, or says, that the machine is to go.
const LocationRules& RulesMeant(const storage::v1::Machine& machine, const PlacementWish& wish);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_LOCATION_RULES_H_
