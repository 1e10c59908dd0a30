// Which VM is meant: exactly one, or none, or a refusal that names all that it could be. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VM_SEARCH_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VM_SEARCH_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config_server/model/refusal.h"
#include "config_server/model/view.h"
#include "config_server/model/vm_identity.h"
#include "config_server/model/vm_move.h"

namespace homeward {

// Points into what was looked through.
struct FoundVm {
  std::string vcenter;  // its record's name
  const VcenterState* state = nullptr;
  vsphere::Ref ref;
  const vsphere::Vm* vm = nullptr;
};

struct VmSearch {
  std::optional<FoundVm> found;
  Refusal ambiguous;  // more than one is left; then nothing is found
};

// Those that it could be by their UUIDs, in any order.
std::vector<FoundVm> CandidatesFor(const std::map<std::string, VcenterState>& vcenters,
                                   const VmIdentity& identity);
// Of the candidates, as they are now, the one that is meant. What an operator said counts before
// anything else. Then the instance UUID, then the BIOS UUID: with another instance UUID than is
// recorded a VM is the same only with all its disks in their files, since copies have their UUIDs;
// and a VM that has disks, but none that its guest names by UUIDs of VMware's, is not the guest's.
// Where more than one is left: the disks' UUIDs, their files, power state and MAC addresses, each
// only if one of them fits it.
VmSearch TellApart(const VmIdentity& identity, const std::vector<FoundVm>& candidates);
VmSearch FindOne(const std::map<std::string, VcenterState>& vcenters, const VmIdentity& identity);

// "dc1/production/web-1", without the folders that every vCenter has.
std::string PathOf(const FoundVm& vm);
// As refusals name it: "dc1/production/web-1 (vm-42 of vc1)".
std::string NameFor(const FoundVm& vm);
// What `identity.chosen` is for this VM.
std::string ChoiceOf(const FoundVm& vm);
// Whether an operator who says `text` may mean it: reference or path, also behind "<vCenter>:".
bool IsMeantBy(const FoundVm& vm, const std::string& text);

// The VM that the machine's agent runs in, as it registered.
VmIdentity IdentityOfSource(const storage::v1::Machine& machine);
// The VM that is recorded of the machine, or of its replica.
VmIdentity IdentityOfRecorded(const storage::v1::Machine& machine);
// The VM of a master target.
VmIdentity IdentityOfServer(const View& view, const storage::v1::Server& server);

// The VM that an operator chose for `identity` by `text`, as it is recorded (ChoiceOf). Or why not.
struct Choice {
  std::string recorded;
  Refusal refusal;
};
Choice ChooseVm(const View& view, VmIdentity identity, const std::string& text);

// The VMs that a move works on. Null: there is none, which the plan knows what to do about.
struct MoveVms {
  std::optional<FoundVm> vm, master_target;
  std::vector<FoundVm> as_read;  // all candidates
  Refusal refusal;
};
// `vms` and `targets`: candidates for move.vm and move.master_target.
MoveVms VmsOf(const VmMove& move, const std::vector<FoundVm>& vms,
              const std::vector<FoundVm>& targets);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VM_SEARCH_H_
