#include "tests/simulation/fabric_azure.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "common/problem/problem.h"
#include "config_server/model/azure_record.h"
#include "config_server/model/cloud_plan.h"
#include "config_server/model/health.h"
#include "tests/simulation/fabric_cluster.h"

namespace homeward::simulation {

using storage::v1::Operation;
using StepKind = CloudStep::Kind;

void Fabric::BuildAzure(uint64_t seed) {
  azure_ = std::make_unique<FabricAzure>(seed);
  ModelCloud& cloud = azure_->cloud;
  cloud.later = [this](std::function<void()> ends) {
    // Now and then it takes its time.
    const absl::Duration longest = absl::Seconds(world_.Chance(0.1) ? 25 : 3);
    world_.After(world_.Between(absl::Milliseconds(1), longest), [this, ends = std::move(ends)] {
      ends();
      LookAtMachines();
    });
  };
  cloud.before_step = [this](const CloudMove& move, const CloudStep& step) {
    CheckCloudStep(move, step);
  };
  cloud.import = [this](const std::string& name, const ModelCloud::Disk& disk) {
    return Import(name, disk);
  };
  cloud.power_changed = [this](const std::string& name, const ModelCloud::Vm& vm) {
    ChangePower(name, vm);
  };
  cloud.disk_gone = [this](const std::string& name) { azure_->disks.erase(name); };
  for (auto& component : components_) {
    if (component->is_target) continue;
    auto blobs = std::make_unique<ModelPageBlobs>(&azure_->container);
    component->blobs = blobs.get();
    component->blobs->loss = [this, server = component.get()](absl::string_view,
                                                              const std::string&) {
      return OnRequest(server);
    };
    Containers::Clients clients;
    clients[kContainer] = std::move(blobs);
    component->containers = std::make_unique<Containers>(std::move(clients));
  }
  BuildStrangers();
  for (auto& guest : machines_) {
    if (world_.Chance(0.4)) guest->retention_bytes = 16 * kKiB + world_.Pick(64 * kKiB);
  }
  // The way there and back is long, and what failed there is tried again after a minute.
  faulty_time_ = 3 * kFaultyTime;
  quiet_time_ = 4 * kQuietTime;
  fault_gap_max_ = world_.Between(absl::Seconds(2), absl::Seconds(20));
  cloud.fault_one_in = world_.Chance(0.5) ? 4 : 0;
  cloud.creation_fails_one_in = world_.Chance(0.5) ? 6 : 0;
  ScheduleAzureFault();
}

// They have names that ours will have, or nearly, and tags like ours.
void Fabric::BuildStrangers() {
  ModelCloud& cloud = azure_->cloud;
  for (const auto& guest : machines_) {
    if (!world_.Chance(0.6)) continue;
    Machine machine;
    machine.set_machine_id(guest->id);
    machine.mutable_registration()->set_name(guest->id);
    const uint64_t generation = 1 + world_.Pick(8);
    std::string name = AzureNameOf(machine, generation);
    CloudTags tags = TagsOf(kConfigServerTag, guest->id, generation);
    switch (world_.Pick(4)) {
      case 0:
        tags = {{"owner", "finance"}};
        break;
      case 1:
        tags[kTagConfigServer] = "another";
        break;
      case 2:
        tags[kTagGeneration] = absl::StrCat(generation + 1);
        break;
      default:
        absl::StrAppend(&name, world_.Chance(0.5) ? "0" : "-old");
    }
    const uint64_t kind = world_.Pick(4);
    const std::string nic = name + "-nic", disk = name + "-disk0";
    if (kind == 0 || kind == 3) {
      ModelCloud::Vm& vm = cloud.vms[name];
      vm.tags = tags;
      vm.provisioning = "Succeeded";
      vm.power = world_.Chance(0.5) ? "running" : "deallocated";
    }
    if (kind == 1 || kind == 3) cloud.nics[nic] = {{tags, "Succeeded", kind == 3 ? name : ""}, ""};
    if (kind == 2 || kind == 3)
      cloud.disks[disk] = {{tags, "Succeeded", kind == 3 ? name : ""}, ""};
  }
  azure_->strange_vms = cloud.vms;
  azure_->strange_nics = cloud.nics;
  azure_->strange_disks = cloud.disks;
}

void Fabric::ScheduleAzureFault() {
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(10)), [this] {
    ModelCloud& cloud = azure_->cloud;
    cloud.link = CloudState::Link::kConnected;
    cloud.fail_step.reset();
    if (!faulty()) {
      cloud.fault_one_in = cloud.creation_fails_one_in = 0;
      return;
    }
    constexpr StepKind kKinds[] = {StepKind::kCreateDisk, StepKind::kCreateNic,
                                   StepKind::kCreateVm,   StepKind::kPowerOff,
                                   StepKind::kDeallocate, StepKind::kStart};
    if (world_.Chance(0.1)) {
      cloud.link = world_.Chance(0.5) ? CloudState::Link::kStale : CloudState::Link::kDisconnected;
      Say("Azure is away");
    } else if (world_.Chance(0.15)) {
      cloud.fail_step = kKinds[world_.Pick(std::size(kKinds))];
      cloud.fail_after_effect = world_.Chance(0.5);
      Say("Azure refuses some steps");
    }
    ScheduleAzureFault();
  });
}

void Fabric::StrikeAzure() {
  std::vector<Component*> servers;
  for (auto& component : components_) {
    if (!component->is_target) servers.push_back(component.get());
  }
  Component& server = *servers[world_.Pick(servers.size())];
  const absl::Duration until =
      world_.Monotonic() + world_.Between(absl::Seconds(1), absl::Seconds(8));
  switch (world_.Pick(6)) {
    case 0:
    case 1:
      server.dies_in = 1 + world_.Pick(16);
      return;
    case 2:
    case 3:
      server.fails_in = 1 + world_.Pick(16);
      return;
    case 4:
      Say("the storage account is away");
      azure_->storage_away_until = until;
      return;
    default:
      Say("the storage account is throttled");
      azure_->storage_slow_until = until;
      return;
  }
}

// --- process servers

void Fabric::KeepReplicasInAzure(Component* component) {
  component->died_there = false;
  component->dies_in = component->fails_in = 0;
  if (!component->host.disk.MakeDirectories("/replicas").ok()) return;
  component->replicas = std::make_unique<Replicas>(
      RuntimeOf(&component->host, nullptr),
      Replicas::Volumes{
          .retention_directory = "/replicas",
          .backends = PageBlobBackends(component->containers.get(), component->name, world_,
                                       RuntimeOf(&component->host, nullptr).make_strand)});
}

ModelPageBlobs::Loss Fabric::OnRequest(Component* component) {
  using Loss = ModelPageBlobs::Loss;
  if (!component->host.up || component->host.disk.dead() || component->died_there)
    return Loss::kBefore;
  if (component->dies_in > 0 && --component->dies_in == 0) {
    component->blobs->lost = absl::UnavailableError("dead");
    component->died_there = true;
    component->host.disk.DieAfter(0);
    return world_.Chance(0.5) ? Loss::kBefore : Loss::kAfter;
  }
  const bool fails = component->fails_in > 0 && --component->fails_in == 0;
  if (azure_->storage_away_until > world_.Monotonic() || (fails && world_.Chance(0.5))) {
    component->blobs->lost = absl::UnavailableError("the storage account is not reached");
    return fails && world_.Chance(0.5) ? Loss::kAfter : Loss::kBefore;
  }
  if (fails || (azure_->storage_slow_until > world_.Monotonic() && world_.Chance(0.5))) {
    component->blobs->lost = absl::ResourceExhaustedError("ServerBusy");
    return Loss::kBefore;
  }
  return Loss::kNone;
}

// --- VMs and their disks

Guest* Fabric::GuestOf(const ModelCloud::Vm& vm) {
  const auto tag = vm.tags.find(kTagMachine);
  if (tag == vm.tags.end()) return nullptr;
  const auto guest = std::find_if(machines_.begin(), machines_.end(),
                                  [&](const auto& one) { return one->id == tag->second; });
  return guest == machines_.end() ? nullptr : guest->get();
}

bool Fabric::Import(const std::string& name, const ModelCloud::Disk& disk) {
  if (azure_->cloud.creation_fails_one_in > 0 && world_.Chance(0.1)) {
    Say(absl::StrCat("disk ", name, " is not imported, for nothing"));
    return false;
  }
  const ModelContainer::Snapshot* const snapshot = azure_->Find(disk.source_url);
  if (snapshot == nullptr) {
    Say(absl::StrCat("disk ", name, " is not imported: ", disk.source_url, " is gone"));
    return false;
  }
  const auto field = [&](const char* key) {
    const auto it = snapshot->metadata.find(key);
    return it == snapshot->metadata.end() ? "" : it->second;
  };
  const auto guest = std::find_if(machines_.begin(), machines_.end(),
                                  [&](const auto& one) { return one->id == field("hw_machine"); });
  const auto of = disk.tags.find(kTagMachine);
  if (guest == machines_.end() || of == disk.tags.end() || of->second != (*guest)->id) {
    Fail(absl::StrCat("disk ", name, " is imported from ", disk.source_url));
    return false;
  }
  const size_t index = name.back() - '0';
  const auto point = (*guest)->points.find(field("hw_point"));
  if (point == (*guest)->points.end()) {
    Fail(absl::StrCat("disk ", name, " is of a point that nobody made: ", field("hw_point")));
    return false;
  }
  std::string& content = azure_->disks[name];
  content = FabricAzure::ContentOf(snapshot->pages, (*guest)->disk_bytes[index]);
  if (content != point->second.content[index])
    Fail(absl::StrCat("disk ", name, " is not as it was at point ", point->first));
  SimulatedStore stored(&records_);
  const auto machine = stored.Get<Machine>((*guest)->id);
  if (!machine.has_value()) return true;
  const std::string& wanted = FabricAzure::IsTest(name) ? machine->test().point_id()
                                                        : machine->assignment().state().point_id();
  // What was begun before it was undone still comes about.
  if (!wanted.empty() && wanted != point->first)
    Fail(absl::StrCat("disk ", name, " is of point ", point->first, " and not of ", wanted));
  Say(absl::StrCat("disk ", name, " is imported from point ", point->first));
  ++outcome_.views_checked;
  return true;
}

void Fabric::ChangePower(const std::string& name, const ModelCloud::Vm& vm) {
  Say(absl::StrCat("VM ", name, " is ", vm.power.empty() ? "gone" : vm.power));
  Guest* const guest = GuestOf(vm);
  if (guest == nullptr) return;
  if (FabricAzure::IsTest(name)) return ChangeTestPower(guest, name, vm);
  Copy* copy = nullptr;
  for (auto& one : guest->copies) {
    if (one->in_azure == name) copy = one.get();
  }
  if (guest->early != nullptr && guest->early->in_azure == name) copy = guest->early.get();
  if (vm.power == "running") return copy == nullptr ? BootInAzure(guest, name, vm) : WakeUp(copy);
  if (copy == nullptr) return;
  TurnOffInAzure(copy);
  if (vm.power.empty() && copy == guest->early.get())
    guest->in_vain.push_back(std::move(guest->early));
}

// Some subnets let a copy reach the configuration server; it is a clone then.
void Fabric::ChangeTestPower(Guest* guest, const std::string& name, const ModelCloud::Vm& vm) {
  for (auto& clone : guest->clones) {
    if (clone->in_azure == name && vm.power != "running") StopClone(clone.get());
  }
  if (vm.power != "running" || !world_.Chance(0.5)) return;
  auto clone = std::make_unique<Copy>(guest, kClones + guest->clones.size(), world_.random());
  clone->is_clone = true;
  clone->hardware_uuid = absl::StrCat("uuid-of-", name);
  clone->in_azure = name;
  for (const std::string& disk : vm.disks) {
    const std::string& content = azure_->disks[disk];
    clone->disks.push_back(std::make_unique<SourceDisk>(content.size(), guest->logs));
    clone->disks.back()->Write(0, content);
  }
  guest->clones.push_back(std::move(clone));
  StartCopy(guest->clones.back().get());
}

void Fabric::BootInAzure(Guest* guest, const std::string& name, const ModelCloud::Vm& vm) {
  CheckAlone(*guest, name);
  std::vector<std::string> content;
  for (const std::string& disk : vm.disks) {
    if (!azure_->disks.contains(disk))
      return Fail(absl::StrCat(name, " boots from disk ", disk, ", which was not imported"));
    content.push_back(azure_->disks[disk]);
  }
  if (content.size() != guest->disk_bytes.size())
    return Fail(absl::StrCat(name, " has ", content.size(), " disks"));
  guest->early = MakeCopy(guest, &content);
  guest->early->hardware_uuid = absl::StrCat("uuid-of-", name);
  guest->early->in_azure = name;
  guest->early->vm_on = true;
  Say(absl::StrCat(NameOf(*guest->early), " boots in ", name));
  StartCopy(guest->early.get());
}

void Fabric::WakeUp(Copy* copy) {
  if (copy->vm_on) return;
  // What could not be turned off, and was given up, may have been starting. It is fenced.
  const bool is_over = copy->left_behind || copy != copy->machine.copies.back().get();
  if (is_over && !copy->machine.source_lost)
    return Fail(absl::StrCat(NameOf(*copy), " is over, and was started again"));
  copy->vm_on = true;
  ++copy->boot;
  copy->host.disk.Crash();
  Say(absl::StrCat(NameOf(*copy), " boots again"));
  StartCopy(copy);
}

void Fabric::StartByHand(Brain& brain, Guest* guest) {
  Copy* const copy = guest->copies.back().get();
  const bool has_vm = !copy->in_vm.empty() || !copy->in_azure.empty();
  const auto machine = brain.store().Get<Machine>(guest->id);
  if (!has_vm || copy->vm_on || copy->left_behind) return;
  const auto job = machine.has_value() ? brain.store().Get<Job>(machine->job_id()) : std::nullopt;
  const Operation operation =
      job.has_value() ? job->operation() : storage::v1::OPERATION_UNSPECIFIED;
  if (operation == storage::v1::FAILBACK || operation == storage::v1::COMMIT) return;
  // There is nothing to start: its VM was removed for another point.
  if (machine.has_value() && machine->state() == storage::v1::FAILED_BACK) {
    const auto issues = JudgeMachine(brain.MakeView(), *machine);
    const bool said = absl::c_any_of(issues, [](const types::v1::HealthIssue& issue) {
      return IsProblem(issue.problem(), ProblemId::kPointRequired);
    });
    if (!said) Fail(absl::StrCat(guest->id, " runs nowhere, and its health does not say so"));
    return;
  }
  bool told = false;
  for (const Job& job : brain.store().All<Job>()) {
    for (const std::string& kept : job.kept())
      told =
          told || (job.subject() == guest->id && absl::StrContains(kept, "was not started again"));
  }
  if (!told) return Fail(absl::StrCat(NameOf(*copy), " is off, and no job says so"));
  Say(absl::StrCat("operator: starts ", NameOf(*copy)));
  if (copy->in_azure.empty()) {
    vcenter_->model.Find(copy->in_vm)->power_state = "poweredOn";
  } else {
    azure_->cloud.vms[copy->in_azure].power = "running";
  }
  WakeUp(copy);
}

// The machine's VM is on: its disks came home, or its failover was undone.
void Fabric::TurnOnAtHome(Guest* guest, const vsphere::Vm& vm) {
  Copy* const copy = guest->copies.back().get();
  if (copy->in_vm == vm.instance_uuid && !copy->vm_on) {
    CheckAlone(*guest, vm.instance_uuid);
    return WakeUp(copy);
  }
  const auto machine = SimulatedStore(&records_).Get<Machine>(guest->id);
  if (machine.has_value() && VmOf(*machine).instance_uuid() == vm.instance_uuid)
    CheckAlone(*guest, vm.instance_uuid);
}

void Fabric::TurnOffInAzure(Copy* copy) {
  if (!std::exchange(copy->vm_on, false)) return;
  copy->running = false;
  LoseAtServer(copy->machine.id, copy->session.number);
  StopCopy(copy, world_.Chance(0.5));
}

void Fabric::LandInAzure(Guest* guest, const Machine& machine) {
  const std::string& id = machine.assignment().state().point_id();
  const auto made = guest->points.find(id);
  if (made == guest->points.end()) return Fail("failed over to a point that nobody made: " + id);
  const std::string& name = machine.assignment().placement().azure_vm().name();
  // Another point was to be taken, and was not: it runs as before, or nowhere.
  if (guest->early == nullptr && (name.empty() || guest->copies.back()->in_azure == name))
    return guest->wish.clear();
  if (guest->early == nullptr || guest->early->in_azure != name || !guest->early->vm_on)
    return Fail(absl::StrCat(guest->id, " has failed over to ", name, ", which does not run"));
  for (auto& clone : guest->clones) {
    if (!clone->refused) StopClone(clone.get());
  }
  if (guest->could_stop && guest->wish == "latest" && made->second.order <= guest->order_at_start)
    return Fail(absl::StrCat(guest->id, " failed over to a point older than its stop"));
  Say(absl::StrCat(guest->id, " is in Azure at ", id));
  guest->wish.clear();
  ++outcome_.views_checked;
  Copy* const old = guest->copies.back().get();
  if (guest->resting) {
    for (size_t i = 0; i < old->disks.size(); ++i) {
      if (guest->early->disks[i]->content() != old->disks[i]->content())
        return Fail(absl::StrCat(guest->id, " stood still, failed over, and disk ", i, " differs"));
    }
    guest->was_there = true;
  }
  // Where it was lost to the configuration server, the old copy may run on for a while.
  old->left_behind = true;
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(15)), [this, old] {
    if (!old->in_vm.empty()) return TurnOffByHand(old);
    old->running = false;
    StopCopy(old, false);
  });
  guest->copies.push_back(std::move(guest->early));
}

// --- oracles

void Fabric::CheckAlone(const Guest& guest, const std::string& but) {
  if (guest.source_lost) return;
  const auto look = [&](const Copy* copy) {
    if (copy == nullptr || !copy->vm_on || copy->in_azure == but || copy->in_vm == but) return;
    Fail(absl::StrCat(guest.id, " is started in ", but, ", and ", NameOf(*copy), " runs"));
  };
  for (const auto& copy : guest.copies) look(copy.get());
  look(guest.early.get());
}

void Fabric::CheckCloudStep(const CloudMove& move, const CloudStep& step) {
  SimulatedStore stored(&records_);
  std::optional<Machine> machine;
  for (const Machine& one : stored.All<Machine>()) {
    if (one.azure_vm().name() == move.vm || one.test().azure_vm().name() == move.vm ||
        one.assignment().placement().azure_vm().name() == move.vm)
      machine = one;
  }
  if (!machine.has_value())
    return Fail(absl::StrCat(Describe(move, step), ", and no record names it"));
  const bool is_test = machine->test().azure_vm().name() == move.vm;
  const bool is_home = machine->azure_vm().name() == move.vm && !is_test;
  const auto job = stored.Get<Job>(machine->job_id());
  const Operation operation =
      job.has_value() ? job->operation() : storage::v1::OPERATION_UNSPECIFIED;
  const ModelCloud& cloud = azure_->cloud;
  const auto failed = [](const auto& all, const std::string& name) {
    const auto it = all.find(name);
    return it != all.end() && it->second.provisioning == "Failed";
  };
  const std::string what = absl::StrCat(Describe(move, step), " of ", machine->machine_id(), ", ");
  switch (step.kind) {
    case StepKind::kCreateDisk:
    case StepKind::kCreateNic:
    case StepKind::kCreateVm:
      if (is_home) return Fail(what + "where it lives");
      if (move.subnet != (is_test ? cloud.site.test_subnet() : cloud.site.subnet()))
        return Fail(what + "in subnet " + move.subnet);
      return;
    case StepKind::kPowerOff:
    case StepKind::kDeallocate:
      if (!is_home || operation != storage::v1::FAILBACK) Fail(what + "which nobody asked for");
      return;
    case StepKind::kStart:
      if (is_test) return;
      for (const auto& guest : machines_) {
        if (guest->id == machine->machine_id()) CheckAlone(*guest, move.vm);
      }
      return;
    case StepKind::kDeleteVm:
    case StepKind::kDeleteNic:
    case StepKind::kDeleteDisk: {
      if (is_test) return;
      if (is_home) {
        if (operation != storage::v1::COMMIT || machine->state() != storage::v1::FAILED_BACK)
          Fail(what + "which the machine may still need");
        return;
      }
      const bool made_anew = step.kind == StepKind::kDeleteVm
                                 ? failed(cloud.vms, move.vm)
                                 : step.kind == StepKind::kDeleteDisk &&
                                       failed(cloud.disks, move.disks[step.disk].name);
      const bool undone =
          operation == storage::v1::FAILBACK && (job->cancel_requested() || job->has_problem());
      // Another recovery point was asked for, and is chosen.
      const bool another =
          operation == storage::v1::FAILBACK && job->state_before() == storage::v1::FAILED_BACK &&
          machine->assignment().placement().azure_vm().generation() < machine->generation();
      if (!made_anew && !undone && !another) Fail(what + "which the machine is to run in");
      return;
    }
    default:
      return;
  }
}

void Fabric::CheckGone(const Guest& guest) {
  const auto look = [&](const auto& all, const auto& strange) {
    for (const auto& [name, one] : all) {
      const auto tag = one.tags.find(kTagMachine);
      if (tag != one.tags.end() && tag->second == guest.id && !strange.contains(name))
        Fail(absl::StrCat(guest.id, " came home, and ", name, " is still in Azure"));
    }
  };
  look(azure_->cloud.vms, azure_->strange_vms);
  look(azure_->cloud.nics, azure_->strange_nics);
  look(azure_->cloud.disks, azure_->strange_disks);
}

void Fabric::CheckStays(const Guest& guest, const Machine& machine) {
  const Copy& copy = *guest.copies.back();
  if (copy.in_azure != machine.azure_vm().name() || !copy.vm_on)
    Fail(absl::StrCat(guest.id, " stays in ", machine.azure_vm().name(), ", which does not run"));
}

void Fabric::CheckSnapshots() {
  // Those that are new have a greater id than any before.
  std::string newest;
  for (const auto& [name, blob] : azure_->container.blobs) {
    if (!blob.snapshots.empty()) newest = std::max(newest, blob.snapshots.rbegin()->first);
  }
  if (newest == std::exchange(azure_->newest_snapshot, newest)) return;
  for (const auto& guest : machines_) {
    const auto machine = brain_ == nullptr ? std::nullopt : brain_->store().Get<Machine>(guest->id);
    if (!machine.has_value()) continue;
    const auto& blobs = machine->assignment().placement().target().page_blobs().blobs();
    for (int i = 0; i < blobs.size(); ++i) azure_->disk_of_blob[blobs[i]] = static_cast<size_t>(i);
  }
  struct Part {
    std::string key;
    size_t disk;
    const ModelContainer::Snapshot* snapshot;
  };
  for (const auto& guest : machines_) {
    std::map<std::string, std::vector<Part>> points;  // by replica, number and id
    for (const auto& [name, blob] : azure_->container.blobs) {
      if (!absl::StartsWith(name, guest->id + "/")) continue;
      for (const auto& [id, snapshot] : blob.snapshots) {
        std::string key;
        for (const char* const field : {"hw_replica", "hw_number", "hw_point"}) {
          const auto it = snapshot.metadata.find(field);
          absl::StrAppend(&key, it == snapshot.metadata.end() ? "" : it->second, "/");
        }
        const auto disk = azure_->disk_of_blob.find(name);
        if (disk == azure_->disk_of_blob.end()) continue;
        points[key].push_back({absl::StrCat(name, "@", id), disk->second, &snapshot});
      }
    }
    for (const auto& [key, parts] : points) {
      if (parts.size() < guest->disk_bytes.size()) continue;  // It is being made, or removed.
      const auto made = guest->points.find(parts.front().snapshot->metadata.at("hw_point"));
      if (made == guest->points.end())
        return Fail(absl::StrCat("a point in Azure that nobody made: ", key));
      for (const Part& part : parts) {
        if (!azure_->compared.insert(part.key).second) continue;
        ++outcome_.views_checked;
        const std::string& then = made->second.content[part.disk];
        if (FabricAzure::ContentOf(part.snapshot->pages, then.size()) != then)
          return Fail(
              absl::StrCat("disk ", part.disk, " differs at point ", made->first, ": ", part.key));
      }
    }
  }
}

}  // namespace homeward::simulation
