#include <algorithm>
#include <optional>

#include "absl/algorithm/container.h"

#include "tests/simulation/fabric_cluster.h"

namespace homeward::simulation {
namespace {

std::string FlatOf(const std::string& descriptor) {
  return absl::StrCat(descriptor.substr(0, descriptor.size() - 5), "-flat.vmdk");
}

}  // namespace

void Fabric::CheckRecords() {
  for (auto& [id, state] : jobs_) {
    const auto job = brain_->store().Get<Job>(id);
    if (!job.has_value()) return Fail(absl::StrCat("job ", id, " was started and is forgotten"));
  }
  CheckParents(/*ended=*/false);
  LookAtMachines();
}

void Fabric::CheckParents(bool ended) {
  // Also those whose answer was lost.
  for (const Job& parent : brain_->store().All<Job>()) {
    if (!parent.subject().empty()) continue;
    const std::string& id = parent.id();
    std::set<std::string> subjects(parent.waiting().begin(), parent.waiting().end());
    for (const std::string& child_id : parent.children()) {
      const auto child = brain_->store().Get<Job>(child_id);
      if (!child.has_value() || !subjects.insert(child->subject()).second)
        return Fail(absl::StrCat("job ", child_id, " of job ", id, " is missing, or one too many"));
    }
    if (!parent.cancel_requested() && subjects.size() != machines_.size())
      return Fail(absl::StrCat("job ", id, " forgot a machine"));
    if (ended && parent.state() == storage::v1::RUNNING)
      return Fail(absl::StrCat("job ", id, " does not end"));
  }
  for (const Job& job : brain_->store().All<Job>()) {
    const auto parent = brain_->store().Get<Job>(job.parent());
    if (parent.has_value() && !absl::c_linear_search(parent->children(), job.id()))
      return Fail(absl::StrCat("job ", job.id(), " is not known to job ", parent->id()));
  }
}

void Fabric::LookAtMachines() {
  if (brain_ == nullptr) return;
  for (auto& guest : machines_) {
    const auto machine = brain_->store().Get<Machine>(guest->id);
    if (!machine.has_value()) continue;
    const bool came_home = machine->state() == storage::v1::FAILED_BACK;
    if (came_home && machine->job_id().empty() && !guest->wish.empty())
      BringHome(guest.get(), *machine);
    if (!came_home && machine->job_id().empty()) guest->wish.clear();
    if (vcenter_ != nullptr && machine->has_vm()) CheckPlaces(*machine);
    CheckOnePast(*guest, *machine);
  }
  const std::string touched = vcenter_ == nullptr ? "" : vcenter_->BystanderFault();
  if (!touched.empty()) Fail(absl::StrCat("a bystander was touched: ", touched));
  const std::string strange = azure_ == nullptr ? "" : azure_->StrangerFault();
  if (!strange.empty()) Fail(absl::StrCat("what is not ours was touched: ", strange));
}

void Fabric::CheckOnePast(const Guest& guest, const Machine& machine) {
  Component* const target = board_.ComponentAt(machine.assignment().placement().master_target_id());
  if (target == nullptr || !target->host.up || target->replicas == nullptr) return;
  for (const control::v1::ReplicaObserved& replica : target->replicas->observed()) {
    if (replica.replica_id() != machine.assignment().replica_id()) continue;
    std::set<size_t> copies;
    for (const types::v1::RecoveryPoint& point : replica.points()) {
      const auto made = guest.points.find(point.id());
      if (made == guest.points.end())
        return Fail(absl::StrCat("a point that nobody made: ", point.id()));
      copies.insert(made->second.copy);
      const bool of_a_clone =
          std::any_of(guest.clones.begin(), guest.clones.end(),
                      [&](const auto& clone) { return clone->number == made->second.copy; });
      if (of_a_clone)
        return Fail(
            absl::StrCat("the replica of ", guest.id, " holds a clone's point ", point.id()));
    }
    if (copies.size() > 1)
      Fail(absl::StrCat("the replica of ", guest.id, " has points of two copies"));
  }
}

void Fabric::BringHome(Guest* guest, const Machine& machine) {
  const std::string& id = machine.assignment().state().point_id();
  if (machine.generation() <= guest->streamed_generation)
    return Fail(absl::StrCat(guest->id, " came home in a generation that its source streams in"));
  if (machine.assignment().placement().location() == storage::v1::AZURE_VM)
    return LandInAzure(guest, machine);
  Component* const target = board_.ComponentAt(machine.assignment().placement().master_target_id());
  const auto made = guest->points.find(id);
  if (made == guest->points.end()) return Fail("came home at a point that nobody made: " + id);
  std::vector<std::string> content;
  guest->vm_home = machine.assignment().placement().location() == storage::v1::ORIGINAL_VM ||
                   machine.assignment().placement().location() == storage::v1::ALTERNATE_VM;
  if (guest->vm_home) content = vcenter_->ContentOf(VmOf(machine));
  for (int i = 0; i < machine.home_disks_size(); ++i) {
    if (!guest->vm_home)
      content.push_back(target->host.disk.Content(FlatOf(machine.home_disks(i))));
    const auto disk = static_cast<size_t>(i);
    if (disk >= content.size() || content[disk] != made->second.content[disk])
      return Fail(absl::StrCat(guest->id, " came home at point ", id, " and disk ", i, " differs"));
  }
  ++outcome_.views_checked;
  // One that nobody has seen yet could be what came home.
  for (auto& clone : guest->clones) {
    if (!clone->refused) StopClone(clone.get());
  }
  if (guest->could_stop && guest->wish == "latest" && made->second.order <= guest->order_at_start)
    return Fail(absl::StrCat(guest->id, " came home at a point older than its stop"));
  Say(absl::StrCat(guest->id, " is home at ", id));
  guest->wish.clear();
  if (guest->boots) return;  // From another point, or this one again, before it was started.
  ++guest->circles;
  if (guest->resting) {
    const Copy& source = *guest->copies.back();
    for (size_t i = 0; i < content.size(); ++i) {
      if (content[i] != source.disks[i]->content())
        return Fail(absl::StrCat(guest->id, " stood still, came home, and disk ", i, " differs"));
    }
    guest->home = azure_ == nullptr;
    if (guest->home) return;
    guest->was_home_again = guest->was_there;
  }
  guest->boots = true;
  // The old copy may run on for a while, with its agent.
  Copy* const old = guest->copies.back().get();
  old->left_behind = true;
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(15)), [this, old] {
    if (!old->in_vm.empty() || !old->in_azure.empty()) return TurnOffByHand(old);
    old->running = false;
    StopCopy(old, false);
  });
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(6)),
               [this, guest] { TryBoot(guest); });
}

void Fabric::TryBoot(Guest* guest) {
  const auto again = [&] { world_.After(absl::Seconds(1), [this, guest] { TryBoot(guest); }); };
  if (brain_ == nullptr) return again();
  const auto machine = brain_->store().Get<Machine>(guest->id);
  Component* const target =
      board_.ComponentAt(machine->assignment().placement().master_target_id());
  const bool at_rest = machine->job_id().empty() && guest->wish.empty();
  if (!at_rest || (target != nullptr && !target->host.up)) return again();
  std::vector<std::string> content;
  if (guest->vm_home) content = vcenter_->ContentOf(VmOf(*machine));
  for (int i = 0; !guest->vm_home && i < machine->home_disks_size(); ++i) {
    const std::string flat = FlatOf(machine->home_disks(i));
    // A commit may have cleared the assignment; the disks are where they are.
    for (auto& component : components_) {
      if (!component->is_target || component->host.disk.Content(flat).empty()) continue;
      content.push_back(component->host.disk.Content(flat));
      // It boots, and so it writes.
      const auto file = component->host.disk.Open(flat, OpenMode::kReadWrite);
      if (file.ok())
        (*file)->Write(0, AsBytes(content.back().substr(0, kSectorBytes))).IgnoreError();
      break;
    }
  }
  if (content.size() != guest->disk_bytes.size())
    return Fail(absl::StrCat(guest->id, " has no disks to boot from"));
  guest->boots = false;
  guest->copies.push_back(MakeCopy(guest, &content));
  if (guest->vm_home) {
    std::vector<std::string> uuids;
    for (const storage::v1::VmDisk* const disk : StreamedDisks(VmOf(*machine)))
      uuids.push_back(disk->uuid());
    const vsphere::Vm* const vm = vcenter_->model.Find(VmOf(*machine).instance_uuid());
    if (vm == nullptr || !vm->on()) return Fail(absl::StrCat(guest->id, " has no VM that is on"));
    PutIntoVm(guest->copies.back().get(), *vm, uuids);
  }
  Say(absl::StrCat(NameOf(*guest->copies.back()), " boots"));
  StartCopy(guest->copies.back().get());
}

void Fabric::DescribeTheStuck() {
  for (auto& guest : machines_) {
    if (guest->home) continue;
    std::string text = absl::StrCat(guest->id, " did not come home");
    const auto machine = brain_ == nullptr ? std::nullopt : brain_->store().Get<Machine>(guest->id);
    if (machine.has_value()) {
      absl::StrAppend(&text, ": ", StateName(machine->state()), ", generation ",
                      machine->generation());
      const auto job = brain_->store().Get<Job>(machine->job_id());
      if (job.has_value()) absl::StrAppend(&text, ", ", OperationName(job->operation()), " runs");
      const StepResult* const progress = brain_->ProgressOf(machine->job_id());
      if (progress != nullptr) absl::StrAppend(&text, ", waits for ", progress->detail);
    }
    Copy& copy = *guest->copies.back();
    if (copy.protection != nullptr)
      absl::StrAppend(&text, "; agent: ", copy.protection->observed().ShortDebugString());
    for (auto& component : components_) {
      if (component->host.up && component->session.open)
        absl::StrAppend(&text, "; ", component->name, ": ", Observe(*component).ShortDebugString());
    }
    return Fail(text);
  }
}

}  // namespace homeward::simulation
