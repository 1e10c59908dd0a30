#include "config_server/model/copies.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/wire/checksum.h"
#include "config_server/model/vm_search.h"

namespace homeward {
namespace {

using storage::v1::Admission;
using storage::v1::Incarnation;
using storage::v1::Machine;
using Kind = CopyVerdict::Kind;

constexpr int kSupersededMax = 64;
constexpr int kRefusedMax = 16;

// A machine that registered with a server that kept no admissions.
Incarnation AdmittedOf(const Machine& machine) {
  if (machine.admission().has_admitted()) return machine.admission().admitted();
  if (!machine.has_registration()) return {};
  return IncarnationOf(machine.registration());
}

// False where one of the two could not be read.
bool DiffersInHardware(const Incarnation& a, const Incarnation& b) {
  return !a.hardware_uuid().empty() && !b.hardware_uuid().empty() &&
         a.hardware_uuid() != b.hardware_uuid();
}

bool SharesADisk(const Incarnation& a, const Incarnation& b) {
  return std::any_of(a.disk_uuids().begin(), a.disk_uuids().end(), [&](const std::string& uuid) {
    return std::count(b.disk_uuids().begin(), b.disk_uuids().end(), uuid) > 0;
  });
}

// All of them are others. One that is added or replaced is none of a clone's.
bool HasOtherDisks(const Incarnation& a, const Incarnation& b) {
  return !a.disk_uuids().empty() && !b.disk_uuids().empty() && !SharesADisk(a, b);
}

bool IsAccepted(const Admission& admission, const Incarnation& copy) {
  if (!admission.has_accepted()) return false;
  const Incarnation& accepted = admission.accepted();
  if (SameIncarnation(accepted, copy)) return true;
  // It booted since it was accepted.
  return !copy.hardware_uuid().empty() && accepted.hardware_uuid() == copy.hardware_uuid() &&
         DiffersInHardware(copy, admission.admitted());
}

bool WasSuperseded(const Admission& admission, const Incarnation& admitted,
                   const Incarnation& copy) {
  if (copy.boot_id().empty()) return false;
  return std::any_of(admission.superseded().begin(), admission.superseded().end(),
                     [&](const Incarnation& old) {
                       if (old.boot_id() != copy.boot_id()) return false;
                       return copy.boot_id() != admitted.boot_id() ||
                              (!copy.start().empty() && old.start() == copy.start());
                     });
}

bool WasRefused(const Admission& admission, const Incarnation& copy) {
  return std::any_of(
      admission.refused().begin(), admission.refused().end(), [&](const Incarnation& old) {
        return SameIncarnation(old, copy) ||
               (!copy.hardware_uuid().empty() && old.hardware_uuid() == copy.hardware_uuid() &&
                DiffersInHardware(copy, admission.admitted()));
      });
}

// Somebody registered the machine's VM again: its old hardware UUID is in no inventory any more,
// its new one is, and the disks are what they were.
bool WasRegisteredAgain(const View& view, const Incarnation& before, const Incarnation& copy) {
  if (view.vcenters.empty() || before.disk_uuids().empty()) return false;
  for (const auto& [name, state] : view.vcenters) {
    if (state.link != VcenterState::Link::kConnected) return false;
  }
  VmIdentity old, registered;
  old.bios_uuid = before.hardware_uuid();
  registered.bios_uuid = copy.hardware_uuid();
  for (const std::string& uuid : copy.disk_uuids()) registered.disks.push_back({uuid, ""});
  return std::is_permutation(before.disk_uuids().begin(), before.disk_uuids().end(),
                             copy.disk_uuids().begin(), copy.disk_uuids().end()) &&
         CandidatesFor(view.vcenters, old).empty() &&
         FindOne(view.vcenters, registered).found.has_value();
}

}  // namespace

Incarnation IncarnationOf(const storage::v1::Registration& registration) {
  Incarnation copy;
  copy.set_boot_id(registration.boot_id());
  copy.set_name(registration.name());
  copy.set_hardware_uuid(registration.hardware_uuid());
  for (const types::v1::Disk& disk : registration.disks()) {
    if (!disk.uuid().empty()) copy.add_disk_uuids(disk.uuid());
  }
  return copy;
}

std::string DescribeCopy(const Incarnation& copy) {
  const std::string hardware = copy.hardware_uuid().empty() ? "unknown" : copy.hardware_uuid();
  return absl::StrCat(copy.name(), " (hardware UUID ", hardware, ", boot ", copy.boot_id(),
                      copy.address().empty() ? "" : ", from ", copy.address(), ")");
}

bool SameIncarnation(const Incarnation& a, const Incarnation& b) {
  // Of an older agent only the boot is known.
  return a.boot_id() == b.boot_id() && !DiffersInHardware(a, b) &&
         (a.start() == b.start() || a.start().empty() || b.start().empty());
}

CopyVerdict JudgeCopy(const View& view, const Machine& machine, const Incarnation& copy,
                      absl::Duration started) {
  const Admission& admission = machine.admission();
  const Incarnation admitted = AdmittedOf(machine);
  if (admitted.boot_id().empty() && admitted.hardware_uuid().empty()) return {Kind::kNext, ""};
  const bool other_hardware = DiffersInHardware(admitted, copy);
  const auto clone = [&](const std::string& how) {
    return CopyVerdict{Kind::kClone,
                       absl::StrCat(DescribeCopy(copy), " has the identity of ",
                                    DescribeCopy(admitted), ", which is the machine: ", how)};
  };
  if (IsAccepted(admission, copy)) return {Kind::kNext, ""};
  if (WasSuperseded(admission, admitted, copy))
    return clone("it was replaced, and an older boot does not come back");
  if (SameIncarnation(admitted, copy)) return {Kind::kSame, ""};
  // It came home, or failed over, and nobody has seen it there.
  const bool moves = !RegisteredSinceBoot(machine);
  if (moves && WasRefused(admission, copy)) return clone("it was refused before the failback");
  const bool failing_back = machine.state() == storage::v1::FAILING_BACK &&
                            machine.assignment().state().phase() == storage::v1::RECOVER;
  if (failing_back && (moves || other_hardware))
    return {Kind::kLater, "the failback of the machine has not ended"};
  if (moves) return {Kind::kNext, ""};
  if (other_hardware &&
      (view.fleet.connected(machine.machine_id()) || !WasRegisteredAgain(view, admitted, copy))) {
    return clone("it runs on other hardware, and no failback explains that");
  }
  if (HasOtherDisks(admitted, copy))
    return clone("it has other disks, and no failback explains that");
  if (started < view.fleet.proven_at(machine.machine_id()))
    return clone("both were running at the same time");
  return {Kind::kAsk, "an older session of the machine is asked whether it still runs"};
}

void AdmitCopy(const Incarnation& copy, Machine* machine) {
  const Incarnation before = AdmittedOf(*machine);
  Admission& admission = *machine->mutable_admission();
  const auto forget = [&](google::protobuf::RepeatedPtrField<Incarnation>* list) {
    list->erase(std::remove_if(list->begin(), list->end(),
                               [&](const Incarnation& old) { return SameIncarnation(old, copy); }),
                list->end());
  };
  forget(admission.mutable_superseded());
  forget(admission.mutable_refused());
  if (IsAccepted(admission, copy)) admission.clear_accepted();
  if (!SameIncarnation(before, copy)) {
    admission.set_number(admission.number() + 1);
    if (!before.boot_id().empty()) {
      auto& superseded = *admission.mutable_superseded();
      Incarnation& old = *superseded.Add();
      old.set_boot_id(before.boot_id());
      old.set_start(before.start());
      old.set_hardware_uuid(before.hardware_uuid());
      if (superseded.size() > kSupersededMax) superseded.erase(superseded.begin());
    }
  }
  *admission.mutable_admitted() = copy;
}

bool NoteRefusedCopy(const Incarnation& copy, Machine* machine) {
  Admission& admission = *machine->mutable_admission();
  if (!admission.has_admitted()) *admission.mutable_admitted() = AdmittedOf(*machine);
  auto& refused = *admission.mutable_refused();
  for (const Incarnation& old : refused) {
    if (old.boot_id() == copy.boot_id() && old.hardware_uuid() == copy.hardware_uuid())
      return false;
  }
  *refused.Add() = copy;
  if (refused.size() > kRefusedMax) refused.erase(refused.begin());
  return true;
}

uint64_t FenceOf(const Machine& machine) {
  const Incarnation& admitted = machine.admission().admitted();
  if (admitted.start().empty()) return 0;
  const std::string digest =
      Digest128(AsBytes(absl::StrCat(machine.machine_id(), "/", machine.admission().number(), "/",
                                     admitted.boot_id(), "/", admitted.start())));
  uint64_t fence = 1;
  for (size_t i = 0; i < 7; ++i) fence = fence << 8 | static_cast<unsigned char>(digest[i]);
  return fence;
}

}  // namespace homeward
