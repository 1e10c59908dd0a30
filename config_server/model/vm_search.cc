#include "config_server/model/vm_search.h"

#include <algorithm>
#include <functional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config_server/model/vm_record.h"

namespace homeward {
namespace {

using storage::v1::Machine;
using vsphere::Vm;

// Every UUID that VMware gives to a disk begins with it.
constexpr char kVmwareDisk[] = "6000c29";
constexpr size_t kNamedMax = 16;  // in one message

// The first three groups, byte by byte the other way round.
std::string Swapped(const std::string& plain) {
  if (plain.size() != 32) return plain;
  std::string swapped = plain;
  size_t begin = 0;
  for (const size_t bytes : {4, 2, 2}) {
    for (size_t i = 0; i < bytes; ++i) {
      const size_t from = begin + 2 * i, to = begin + 2 * (bytes - 1 - i);
      swapped.replace(to, 2, plain.substr(from, 2));
    }
    begin += 2 * bytes;
  }
  return swapped;
}

bool HasAllDisks(const Vm& vm, const VmIdentity& identity) {
  return !identity.disks.empty() &&
         std::all_of(identity.disks.begin(), identity.disks.end(),
                     [&](const auto& disk) { return vm.FindDisk(disk.uuid) != nullptr; });
}

bool HasAllFiles(const Vm& vm, const VmIdentity& identity) {
  return HasAllDisks(vm, identity) &&
         std::all_of(identity.disks.begin(), identity.disks.end(), [&](const auto& disk) {
           return !disk.file.empty() && vm.FindDisk(disk.uuid)->file == disk.file;
         });
}

// The guest names disks that can only be a VM's, and this one has others that a guest would name:
// those on SCSI controllers.
bool HasOtherDisks(const Vm& vm, const VmIdentity& identity) {
  bool named = false;
  for (const VmIdentity::Disk& disk : identity.disks) {
    if (vm.FindDisk(disk.uuid) != nullptr) return false;
    named = named || absl::StartsWith(disk.uuid, kVmwareDisk);
  }
  return named && std::any_of(vm.disks.begin(), vm.disks.end(), [&](const vsphere::Disk& disk) {
           const vsphere::Controller* const controller = vm.FindController(disk.controller_key);
           const auto& passing = identity.passing;
           return !disk.uuid.empty() && controller != nullptr && controller->scsi() &&
                  std::find(passing.begin(), passing.end(), vsphere::PlainHex(disk.uuid)) ==
                      passing.end();
         });
}

bool HasMac(const Vm& vm, const VmIdentity& identity) {
  return std::any_of(vm.cards.begin(), vm.cards.end(), [&](const vsphere::NetworkCard& card) {
    return std::any_of(
        identity.mac_addresses.begin(), identity.mac_addresses.end(), [&](const auto& mac) {
          return !mac.empty() && vsphere::PlainHex(mac) == vsphere::PlainHex(card.mac);
        });
  });
}

using Candidates = std::vector<FoundVm>;

Candidates Those(const Candidates& all, const std::function<bool(const FoundVm&)>& fits) {
  Candidates those;
  std::copy_if(all.begin(), all.end(), std::back_inserter(those), fits);
  return those;
}

// Those that fit, if any does.
void Narrow(Candidates* left, const std::function<bool(const FoundVm&)>& fits) {
  if (left->size() < 2) return;
  Candidates those = Those(*left, fits);
  if (!those.empty()) *left = std::move(those);
}

// The inventory may be a moment old: a power state that the MAC addresses contradict says nothing.
void NarrowByWhatRuns(const VmIdentity& identity, Candidates* left) {
  if (left->size() < 2) return;
  const auto on = [](const FoundVm& one) { return one.vm->on(); };
  const auto has_mac = [&](const FoundVm& one) { return HasMac(*one.vm, identity); };
  const Candidates running = identity.runs ? Those(*left, on) : Candidates();
  const Candidates carded = Those(*left, has_mac);
  if (running.empty() || carded.empty()) {
    if (!running.empty()) *left = running;
    if (!carded.empty()) *left = carded;
    return;
  }
  Candidates both = Those(running, has_mac);
  if (!both.empty()) *left = std::move(both);
}

VmSearch Ambiguous(const VmIdentity& identity, const Candidates& left) {
  std::vector<std::string> names;
  for (const FoundVm& one : left) names.push_back(NameFor(one));
  std::sort(names.begin(), names.end());
  const size_t more = names.size() > kNamedMax ? names.size() - kNamedMax : 0;
  names.resize(names.size() - more);
  VmSearch search;
  search.ambiguous = MakeProblem(
      ProblemId::kVmAmbiguous,
      absl::StrCat(identity.what, " can be any of ", left.size(), ": ", absl::StrJoin(names, ", "),
                   more > 0 ? absl::StrCat(" and ", more, " more") : ""));
  return search;
}

void AddDisk(const std::string& uuid, const std::string& file, VmIdentity* identity) {
  const std::string plain = vsphere::PlainHex(uuid);
  if (!plain.empty()) identity->disks.push_back({plain, file});
}

// By its UUID, or as long as it has none by its file.
bool Holds(const Vm& vm, const VmMove::Disk& disk) {
  if (!disk.uuid.empty()) return vm.FindDisk(disk.uuid) != nullptr;
  return !disk.file.empty() && vm.FindFile(disk.file) != nullptr;
}

// A master target that gives disks away is the one that has them. They may have left it already.
VmSearch FindHolder(const VmMove& move, const Candidates& targets) {
  Candidates holders = Those(targets, [&](const FoundVm& one) {
    return std::any_of(move.disks.begin(), move.disks.end(),
                       [&](const auto& disk) { return Holds(*one.vm, disk); });
  });
  Narrow(&holders, [&](const FoundVm& one) {
    return std::any_of(move.disks.begin(), move.disks.end(),
                       [&](const auto& disk) { return one.vm->FindFile(disk.file) != nullptr; });
  });
  VmSearch search;
  if (holders.size() > 1) return TellApart(move.master_target, holders);
  if (!holders.empty()) search.found = holders.front();
  return search;
}

}  // namespace

bool SameBiosUuid(const std::string& a, const std::string& b) {
  const std::string left = vsphere::PlainHex(a), right = vsphere::PlainHex(b);
  return !left.empty() && (left == right || Swapped(left) == right);
}

std::vector<FoundVm> CandidatesFor(const std::map<std::string, VcenterState>& vcenters,
                                   const VmIdentity& identity) {
  Candidates candidates;
  const std::string wanted = vsphere::PlainHex(identity.bios_uuid), swapped = Swapped(wanted);
  for (const auto& [name, state] : vcenters) {
    if (!identity.vcenter.empty() && name != identity.vcenter) continue;
    for (const auto& [ref, vm] : state.inventory->vms) {
      const std::string bios = vsphere::PlainHex(vm.bios_uuid);
      const bool same =
          (!identity.instance_uuid.empty() && vm.instance_uuid == identity.instance_uuid) ||
          (!bios.empty() && (bios == wanted || bios == swapped));
      if (same && !vm.is_template) candidates.push_back({name, &state, ref, &vm});
    }
  }
  return candidates;
}

VmSearch TellApart(const VmIdentity& identity, const std::vector<FoundVm>& candidates) {
  const auto same_bios = [&](const FoundVm& one) {
    return SameBiosUuid(one.vm->bios_uuid, identity.bios_uuid);
  };
  const auto same_instance = [&](const FoundVm& one) {
    return !identity.instance_uuid.empty() && one.vm->instance_uuid == identity.instance_uuid;
  };
  Candidates left = Those(candidates, [&](const FoundVm& one) {
    return !identity.chosen.empty() && ChoiceOf(one) == identity.chosen &&
           (same_instance(one) || same_bios(one));
  });
  if (left.empty()) left = Those(candidates, same_instance);
  if (left.empty()) {
    left = Those(candidates, [&](const FoundVm& one) {
      const bool recorded = !identity.instance_uuid.empty();
      return same_bios(one) &&
             (recorded ? HasAllFiles(*one.vm, identity) : !HasOtherDisks(*one.vm, identity));
    });
  }
  Narrow(&left, same_bios);
  Narrow(&left, [&](const FoundVm& one) { return HasAllDisks(*one.vm, identity); });
  Narrow(&left, [&](const FoundVm& one) { return HasAllFiles(*one.vm, identity); });
  NarrowByWhatRuns(identity, &left);
  if (left.size() > 1) return Ambiguous(identity, left);
  VmSearch search;
  if (!left.empty()) search.found = left.front();
  return search;
}

VmSearch FindOne(const std::map<std::string, VcenterState>& vcenters, const VmIdentity& identity) {
  return TellApart(identity, CandidatesFor(vcenters, identity));
}

std::string PathOf(const FoundVm& vm) { return vm.state->inventory->PathOf(*vm.vm); }

std::string NameFor(const FoundVm& vm) {
  return absl::StrCat(PathOf(vm), " (", vm.ref.value, " of ", vm.vcenter, ")");
}

std::string ChoiceOf(const FoundVm& vm) { return absl::StrCat(vm.vcenter, ":", vm.ref.value); }

bool IsMeantBy(const FoundVm& vm, const std::string& text) {
  const std::string path = PathOf(vm);
  return text == vm.ref.value || text == path || text == ChoiceOf(vm) ||
         text == absl::StrCat(vm.vcenter, ":", path);
}

VmIdentity IdentityOfSource(const Machine& machine) {
  const storage::v1::Registration& registration = machine.registration();
  VmIdentity identity;
  identity.what = absl::StrCat("the VM of ", registration.name());
  identity.chosen = machine.chosen_vm();
  identity.bios_uuid = registration.hardware_uuid();
  for (const types::v1::Disk& disk : registration.disks()) AddDisk(disk.uuid(), "", &identity);
  identity.runs = true;
  identity.mac_addresses = {registration.mac_addresses().begin(),
                            registration.mac_addresses().end()};
  return identity;
}

VmIdentity IdentityOfRecorded(const Machine& machine) {
  const storage::v1::Vm& vm = VmOf(machine);
  VmIdentity identity;
  identity.what = absl::StrCat("the VM ", vm.name(), " of ", machine.registration().name());
  // What was chosen is the VM that it was, and no new one.
  if (!machine.assignment().placement().has_new_vm()) identity.chosen = machine.chosen_vm();
  identity.instance_uuid = vm.instance_uuid();
  identity.bios_uuid = vm.bios_uuid();
  const bool all_there = std::all_of(vm.disks().begin(), vm.disks().end(), [](const auto& disk) {
    return disk.place() == storage::v1::AT_VM &&
           disk.moving_to() == storage::v1::DISK_PLACE_UNSPECIFIED;
  });
  if (!all_there) return identity;
  for (const storage::v1::VmDisk& disk : vm.disks()) AddDisk(disk.uuid(), disk.file(), &identity);
  return identity;
}

VmIdentity IdentityOfServer(const View& view, const storage::v1::Server& server) {
  const storage::v1::Registration& registration = server.registration();
  VmIdentity identity;
  identity.what = absl::StrCat("the VM of the master target ", registration.name());
  identity.chosen = server.chosen_vm();
  identity.bios_uuid = registration.hardware_uuid();
  // Machines' disks come and go.
  std::set<std::string> of_machines;
  for (const Machine& machine : view.machines) {
    const bool uses_it = machine.assignment().placement().master_target_id() == server.host_id();
    for (const storage::v1::VmDisk& disk : VmOf(machine).disks()) {
      of_machines.insert(disk.uuid());
      if (uses_it && !disk.uuid().empty()) identity.passing.push_back(disk.uuid());
    }
  }
  for (const types::v1::Disk& disk : registration.disks()) {
    if (of_machines.count(vsphere::PlainHex(disk.uuid())) == 0) AddDisk(disk.uuid(), "", &identity);
  }
  identity.runs = true;
  identity.mac_addresses = {registration.mac_addresses().begin(),
                            registration.mac_addresses().end()};
  return identity;
}

Choice ChooseVm(const View& view, VmIdentity identity, const std::string& text) {
  Choice choice;
  identity.chosen.clear();
  const Candidates candidates = CandidatesFor(view.vcenters, identity);
  Candidates meant = Those(candidates, [&](const FoundVm& one) { return IsMeantBy(one, text); });
  if (meant.size() > 1) {
    choice.refusal = Ambiguous(identity, meant).ambiguous;
    return choice;
  }
  const bool fits = !meant.empty() && !HasOtherDisks(*meant.front().vm, identity);
  if (fits) {
    choice.recorded = ChoiceOf(meant.front());
    return choice;
  }
  std::vector<std::string> names;
  for (const FoundVm& one : candidates) names.push_back(NameFor(one));
  choice.refusal = MakeProblem(
      ProblemId::kVmNotThatOne,
      absl::StrCat(identity.what, " cannot be \"", text, "\": ",
                   !meant.empty() ? "its disks are others"
                   : names.empty()
                       ? "no VM has its UUID"
                       : absl::StrCat("those with its UUID are ", absl::StrJoin(names, ", "))));
  return choice;
}

MoveVms VmsOf(const VmMove& move, const std::vector<FoundVm>& vms,
              const std::vector<FoundVm>& targets) {
  MoveVms out;
  out.as_read = vms;
  out.as_read.insert(out.as_read.end(), targets.begin(), targets.end());
  const VmSearch vm = TellApart(move.vm, vms);
  out.vm = vm.found;
  out.refusal = vm.ambiguous;
  // What is removed is what was made, and nothing that is like it.
  if (move.kind == VmMove::Kind::kDestroyVm && out.vm.has_value() &&
      out.vm->vm->instance_uuid != move.vm.instance_uuid)
    out.vm.reset();
  // Who powers a VM on needs no master target.
  if (out.refusal || move.kind == VmMove::Kind::kTurnOn) return out;
  const bool gives = move.kind == VmMove::Kind::kToVm || move.kind == VmMove::Kind::kDestroyVm;
  const VmSearch target =
      gives ? FindHolder(move, targets) : TellApart(move.master_target, targets);
  out.master_target = target.found;
  out.refusal = target.ambiguous;
  if (out.master_target.has_value() && out.master_target->vcenter != move.vcenter) {
    out.refusal =
        MakeProblem(ProblemId::kHostNotDiscovered,
                    absl::StrCat(move.master_target.what, " is in ", out.master_target->vcenter,
                                 ", and what is to be done is in ", move.vcenter));
  }
  return out;
}

}  // namespace homeward
