#include "tests/simulation/fabric.h"

#include <algorithm>

#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "tests/simulation/fabric_cluster.h"

namespace homeward::simulation {
namespace {

constexpr char kStateDirectory[] = "/agent";

}  // namespace

Fabric::Fabric(uint64_t seed, const RunOptions& options, Kind kind) : Scenario(seed, options) {
  const bool with_vcenter = kind != Kind::kDirectories;
  settings_.heartbeat_interval = absl::Seconds(1);
  settings_.heartbeat_timeout = world_.Between(absl::Seconds(8), absl::Seconds(40));
  settings_.registration_window = absl::Seconds(10);
  uint64_t number = seed * 64;
  const uint64_t servers = 1 + world_.Pick(2);
  const uint64_t targets = with_vcenter ? 1 : 1 + world_.Pick(2);
  for (uint64_t i = 0; i < servers; ++i)
    components_.push_back(std::make_unique<Component>(++number, absl::StrCat("ps", i)));
  for (uint64_t i = 0; i < targets; ++i) {
    components_.push_back(std::make_unique<Component>(++number, absl::StrCat("mt", i)));
    components_.back()->is_target = true;
    components_.back()->host.disk.MakeDirectories("/ds").IgnoreError();
  }
  for (auto& component : components_) {
    component->host.disk.set_capacity_bytes(kVolumeBytes);
    board_.Install(component.get());
  }
  const uint64_t machines = 1 + world_.Pick(3);
  for (uint64_t i = 0; i < machines; ++i) {
    auto machine = std::make_unique<Guest>();
    machine->id = absl::StrCat("machine-", i);
    const uint64_t disks = 1 + world_.Pick(3);
    machine->logs = world_.Chance(0.5);
    for (uint64_t d = 0; d < disks; ++d)
      machine->disk_bytes.push_back(kSectorBytes * (32 + world_.Pick(96)));
    machine->point_interval = world_.Between(absl::Seconds(1), absl::Seconds(4));
    machine->copies.push_back(MakeCopy(machine.get(), nullptr));
    machines_.push_back(std::move(machine));
  }
  write_gap_max_ = world_.Between(absl::Milliseconds(20), absl::Milliseconds(400));
  fault_gap_max_ = world_.Between(absl::Milliseconds(300), absl::Seconds(8));
  encrypts_ = seed % 4 == 3;
  settings_.encrypt_streams = encrypts_;
  mischief_.seed(seed);
  if (encrypts_) {
    wire_meddles_ = seed % 8 == 7;
    world_.on_batch = [this](SealedBatch* batch) { OnBatch(batch); };
    world_.on_beside = [this](SealedBatch* batch) { OnBeside(batch); };
    world_.on_refusal = [this](bool to_relay, const replication::v1::Refusal& refusal) {
      OnRefusal(to_relay, refusal);
    };
  }
  commit_deaths_ = world_.Chance(0.5);
  few_kinds_ = world_.Chance(0.5);
  if (!with_vcenter) return;
  BuildVcenter(seed);
  for (auto& machine : machines_) {
    if (world_.Chance(0.2)) continue;  // a physical one
    const vsphere::Vm& vm = vcenter_->MakeVm(*machine);
    std::vector<std::string> uuids;
    for (const vsphere::Disk& disk : vm.disks) uuids.push_back(disk.uuid);
    PutIntoVm(machine->copies.back().get(), vm, uuids);
    BuildBystander(machine.get(), vm);
  }
  if (kind == Kind::kAzure) BuildAzure(seed);
}

Outcome Fabric::Run() {
  StartServer();
  for (auto& component : components_) StartComponent(component.get());
  for (auto& machine : machines_) {
    StartCopy(machine->copies.back().get());
    ScheduleWrite(machine.get());
    ScheduleOperator(machine.get());
    ScheduleClone(machine.get());
  }
  KeepStepping();
  ScheduleFault();
  while (outcome_.ok && world_.Monotonic() < faulty_time_ + quiet_time_ && !AllHome() &&
         world_.Step())
    ReapTheDead();
  if (outcome_.ok && !AllHome()) DescribeTheStuck();
  if (outcome_.ok && brain_ != nullptr) CheckParents(/*ended=*/true);
  // Calls still refer to strands: nothing of theirs may run while all is taken down.
  for (auto& component : components_) StopComponent(component.get());
  for (auto& machine : machines_) {
    for (auto& copy : machine->copies) StopCopy(copy.get(), false);
    for (auto& clone : machine->clones) StopClone(clone.get());
    if (machine->early != nullptr) StopCopy(machine->early.get(), false);
    for (auto& copy : machine->in_vain) StopCopy(copy.get(), false);
  }
  return outcome_;
}

bool Fabric::AllHome() const {
  return std::all_of(machines_.begin(), machines_.end(),
                     [](const auto& machine) { return machine->home; });
}

StreamRuntime Fabric::RuntimeOf(Host* host, StreamDialer* dialer) {
  return {host->disk, world_,
          [this, host](const std::string&) -> std::unique_ptr<Strand> {
            return std::make_unique<SimulatedStrand>(&world_, host);
          },
          dialer};
}

// --- the configuration server

void Fabric::StartServer() {
  records_.commits_left = UINT64_MAX;
  brain_ = std::make_unique<Brain>(world_, settings_, std::make_unique<SimulatedStore>(&records_),
                                   vcenter_ == nullptr ? nullptr : &vcenter_->model,
                                   azure_ == nullptr ? nullptr : &azure_->cloud);
  CheckRecords();
}

void Fabric::StopServer() {
  Say("configuration server dies");
  ++outcome_.crashes;
  brain_.reset();
  if (vcenter_ != nullptr) vcenter_->model.ServerDied();
  if (azure_ != nullptr) azure_->cloud.ServerDied();
  ++server_incarnation_;
  for (auto& component : components_)
    LoseSession(&component->session, [&] { KeepSession(component.get()); });
  for (auto& machine : machines_) {
    for (auto& copy : machine->copies)
      LoseSession(&copy->session, [this, &copy] { KeepSession(copy.get()); });
    for (auto& clone : machine->clones)
      LoseSession(&clone->session, [this, &clone] { KeepSession(clone.get()); });
    if (Copy* const early = machine->early.get(); early != nullptr)
      LoseSession(&early->session, [this, early] { KeepSession(early); });
  }
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(4)), [this] {
    if (brain_ == nullptr) StartServer();
  });
}

void Fabric::Ask(const std::function<void(Brain&)>& ask) {
  if (brain_ == nullptr) return;
  try {
    ask(*brain_);
  } catch (const ServerDied&) {
    return StopServer();
  }
  LookAtMachines();
}

void Fabric::KeepStepping() {
  Ask([](Brain& brain) { brain.Step(); });
  if (azure_ != nullptr) CheckSnapshots();
  world_.After(absl::Milliseconds(200), [this] { KeepStepping(); });
}

// --- sessions

absl::Duration Fabric::Arrival(absl::Duration* last) {
  *last = std::max(
      *last, world_.Monotonic() + world_.Between(absl::Microseconds(100), absl::Milliseconds(60)));
  return *last - world_.Monotonic();
}

std::string Fabric::NameOf(const Copy& copy) {
  return absl::StrCat(copy.machine.id, copy.is_clone ? " clone " : " copy ", copy.number);
}

control::v1::Registration Fabric::RegistrationOf(const Component& component) {
  control::v1::Registration out;
  out.set_role(component.is_target ? types::v1::MASTER_TARGET : types::v1::PROCESS_SERVER);
  out.set_host_id(component.name);
  out.set_name(component.name);
  out.set_os_type(types::v1::LINUX);
  out.set_replication_address(component.name);
  out.set_encrypts_streams(encrypts_);
  out.set_compresses_encrypted(encrypts_);
  out.set_ends_unchecked(encrypts_);
  if (component.is_target && vcenter_ != nullptr) {
    out.set_hardware_uuid(kTargetUuid);
    for (const std::string& uuid : vcenter_->hot_added.Uuids()) out.add_disks()->set_uuid(uuid);
    for (const vsphere::NetworkCard& card : vcenter_->model.world.target().cards)
      out.add_mac_addresses(vsphere::PlainHex(card.mac));
  }
  return out;
}

control::v1::Registration Fabric::RegistrationOf(const Copy& copy) {
  control::v1::Registration out;
  out.set_role(types::v1::AGENT);
  out.set_host_id(copy.machine.id);
  out.set_name(copy.machine.id);
  out.set_os_type(types::v1::LINUX);
  out.set_boot_id(absl::StrCat(copy.machine.id, "-", copy.number, "-", copy.boot));
  out.set_hardware_uuid(copy.hardware_uuid);
  out.set_encrypts_streams(encrypts_);
  out.set_compresses_encrypted(encrypts_);
  for (const std::string& mac : copy.mac_addresses) out.add_mac_addresses(mac);
  out.set_incarnation(absl::StrCat(copy.number, "-", copy.host.incarnation));
  *out.mutable_running_for() = ToProto(world_.Monotonic() - copy.started);
  for (size_t i = 0; i < copy.machine.disk_bytes.size(); ++i) {
    types::v1::Disk* const disk = out.add_disks();
    disk->set_name(absl::StrCat("disk", i));
    disk->set_size_bytes(copy.machine.disk_bytes[i]);
    if (!copy.in_vm.empty()) disk->set_uuid(copy.disk_uuids[i]);
  }
  return out;
}

void Fabric::NoteRegistered(const Copy& copy) {
  if (copy.left_behind)
    Fail(absl::StrCat(NameOf(copy), " was left behind by a failback and registered"));
  if (copy.is_clone) Fail(absl::StrCat(NameOf(copy), " was taken for the machine"));
}

void Fabric::NoteRefused(Copy& copy, const absl::Status& why) {
  const auto problem = ProblemOf(why);
  const bool as_a_clone = problem.has_value() && IsProblem(*problem, ProblemId::kAgentCloned);
  if (as_a_clone && !copy.is_clone) Fail(absl::StrCat(NameOf(copy), " was taken for a clone"));
  copy.refused = copy.refused || as_a_clone;
}

control::v1::Heartbeat Fabric::Observe(Component& component) {
  control::v1::Heartbeat out;
  if (!component.is_target) {
    control::v1::ProcessServerObserved& seen = *out.mutable_process_server();
    component.relays->Observe(&seen);
    seen.set_cache_total_bytes(100);
    seen.set_cache_free_bytes(90);
    if (component.replicas == nullptr) return out;
    for (control::v1::ReplicaObserved& replica : component.replicas->observed())
      *seen.add_replicas() = std::move(replica);
    for (const std::string& url : component.containers->reachable())
      seen.add_page_blob_containers(url);
    return out;
  }
  control::v1::MasterTargetObserved& seen = *out.mutable_master_target();
  for (control::v1::ReplicaObserved& replica : component.replicas->observed())
    *seen.add_replicas() = std::move(replica);
  types::v1::Datastore* const datastore = seen.add_datastores();
  datastore->set_path("/ds");
  datastore->set_total_bytes(kVolumeBytes);
  datastore->set_free_bytes(kVolumeBytes / 2);
  *seen.mutable_retention_volume() = *datastore;
  return out;
}

control::v1::Heartbeat Fabric::Observe(Copy& copy) {
  control::v1::Heartbeat out;
  *out.mutable_agent() = copy.protection->observed();
  for (const types::v1::HealthIssue& issue : copy.protection->issues()) *out.add_issues() = issue;
  return out;
}

void Fabric::Obey(Component* component, const control::v1::Desired& desired) {
  component->strand->Post([component, desired] {
    if (component->is_target) {
      component->replicas->Want(desired.master_target().replicas());
    } else {
      component->relays->Want(desired.process_server());
      if (component->replicas != nullptr)
        component->replicas->Want(desired.process_server().replicas());
    }
  });
}

void Fabric::CheckSent(const Copy& copy, const control::v1::Desired& desired) {
  if (desired.agent().has_protection() && copy.left_behind)
    Fail(absl::StrCat(NameOf(copy), " was left behind and is told to replicate"));
}

void Fabric::Obey(Copy* copy, const control::v1::Desired& desired) {
  Guest& guest = copy->machine;
  guest.streamed_generation =
      std::max(guest.streamed_generation, desired.agent().protection().generation());
  copy->told = desired.agent();
  copy->protection->Want(desired.agent());
}

// --- process servers and master targets

void Fabric::StartComponent(Component* component) {
  Host& host = component->host;
  host.up = true;
  const uint64_t incarnation = ++host.incarnation;
  if (!host.disk.MakeDirectories(component->is_target ? "/retention" : "/spool").ok()) return;
  component->strand = std::make_unique<SimulatedStrand>(&world_, &host);
  if (component->is_target) {
    component->replicas = std::make_unique<Replicas>(
        RuntimeOf(&host, nullptr),
        Replicas::Volumes{.retention_directory = "/retention",
                          .datastores = {"/ds"},
                          .block_devices = {},
                          .attached = vcenter_ == nullptr ? nullptr : &vcenter_->hot_added,
                          .backends = DiskBackends()});
  } else {
    component->dialer = std::make_unique<Dialer>(&board_, &host);
    component->relays = std::make_unique<Relays>(
        RuntimeOf(&host, component->dialer.get()),
        Relays::Limits{.cache_directory = "/spool", .cache_bytes_max = 64 * kMiB},
        Relay::Options());
    if (azure_ != nullptr) KeepReplicasInAzure(component);
    KeepReconciling(component, incarnation);
  }
  KeepSession(component);
}

void Fabric::KeepReconciling(Component* component, uint64_t incarnation) {
  if (component->host.incarnation != incarnation || !component->host.up) return;
  component->strand->Post([component] {
    component->relays->Reconcile();
    if (component->containers != nullptr) component->containers->Look();
  });
  world_.After(absl::Seconds(1),
               [this, component, incarnation] { KeepReconciling(component, incarnation); });
}

void Fabric::StopComponent(Component* component) {
  if (!component->host.up) return;
  component->host.up = false;
  ++component->host.incarnation;
  ++component->session.attempt;
  component->host.disk.DieAfter(0);
  for (const auto& held : std::exchange(component->calls, {})) {
    if (const auto call = held.lock()) call->CalledDied();
  }
  board_.EndCallsOf(&component->host);
  component->strand->Stop();
  component->replicas.reset();
  component->relays.reset();
  if (component->is_target && vcenter_ != nullptr) vcenter_->hot_added.HostDied();
}

void Fabric::KillComponent(Component* component, bool with_its_disk) {
  if (!component->host.up) return;
  ++outcome_.crashes;
  Say(absl::StrCat(component->name, " dies", with_its_disk ? " with its disk" : ""));
  const uint64_t number = component->session.number;
  StopComponent(component);
  if (with_its_disk) {
    component->host.disk.Replace();
  } else {
    component->host.disk.Crash();
  }
  LoseAtServer(component->name, number);
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(4)),
               [this, component] { StartComponent(component); });
}

void Fabric::LoseAtServer(const std::string& host_id, uint64_t number) {
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(3)),
               [this, host_id, number, incarnation = server_incarnation_] {
                 if (incarnation != server_incarnation_) return;
                 Ask([&](Brain& brain) { brain.fleet().Disconnect(host_id, number); });
               });
}

// --- machines

std::unique_ptr<Copy> Fabric::MakeCopy(Guest* machine, const std::vector<std::string>* disks) {
  const size_t number =
      machine->copies.size() + machine->in_vain.size() + (machine->early == nullptr ? 0 : 1);
  auto copy = std::make_unique<Copy>(machine, number, world_.random());
  copy->hardware_uuid = absl::StrCat(machine->id, "-hardware-", number);
  for (size_t i = 0; i < machine->disk_bytes.size(); ++i) {
    copy->disks.push_back(std::make_unique<SourceDisk>(machine->disk_bytes[i], machine->logs));
    if (disks != nullptr) copy->disks.back()->Write(0, (*disks)[i]);
  }
  copy->registration_delay = disks == nullptr
                                 ? absl::ZeroDuration()
                                 : world_.Between(absl::ZeroDuration(), absl::Seconds(8));
  return copy;
}

void Fabric::StartCopy(Copy* copy) {
  Host& host = copy->host;
  host.up = true;
  ++host.incarnation;
  copy->started = world_.Monotonic();
  copy->captured.clear();
  const absl::StatusOr<bool> stopped_cleanly =
      Protection::TakeCleanStops(host.disk, kStateDirectory);
  if (!stopped_cleanly.ok()) return KillAgent(copy);
  copy->running = true;  // A machine that stopped with its agent comes back behind it.
  for (size_t i = 0; i < copy->disks.size(); ++i) {
    copy->disks[i]->set_tracked(true);
    copy->captured.push_back(
        {absl::StrCat("disk", i), "simulated", std::make_unique<LentDisk>(copy->disks[i].get())});
  }
  copy->dialer = std::make_unique<Dialer>(&board_, &host);
  Protection::Options options;
  options.state_directory = kStateDirectory;
  options.stopped_cleanly = *stopped_cleanly;
  options.stream.batch_bytes = 8 * kKiB;
  options.stream.points.frozen_bytes_max = 48 * kKiB;
  options.stream.log_bytes_max = 32 * kKiB;
  options.stream.sync.digest_block_bytes = 4 * kKiB;
  options.stream.in_flight_max = 200;
  // The worst there can be: the same after each restart, and each time.
  options.stream.random = [](MutableBytes out) { std::fill(out.begin(), out.end(), 0); };
  options.stream.epoch_stride = world_.Pick(kMiB);
  options.marker_taken = [this, copy](const Marker& marker) { TakePoint(*copy, marker); };
  copy->protection = std::make_unique<Protection>(RuntimeOf(&host, copy->dialer.get()),
                                                  std::move(options), &copy->captured);
  KeepSession(copy, std::exchange(copy->registration_delay, absl::ZeroDuration()));
}

void Fabric::StopCopy(Copy* copy, bool with_machine) {
  if (!copy->host.up) return;
  for (CapturedDisk& disk : copy->captured)
    static_cast<LentDisk&>(*disk.source).machine_stops = with_machine;
  if (!with_machine) copy->host.disk.DieAfter(0);
  copy->host.up = false;
  ++copy->host.incarnation;
  ++copy->session.attempt;
  board_.EndCallsOf(&copy->host);
  copy->protection.reset();
  for (auto& disk : copy->disks) disk->set_tracked(false);
}

void Fabric::KillAgent(Copy* copy) {
  if (!copy->host.up) return;
  ++outcome_.crashes;
  copy->machine.could_stop = false;
  const bool machine_stops = world_.Chance(0.4) && !copy->host.disk.dead();
  Say(absl::StrCat(NameOf(*copy), machine_stops ? " reboots" : ": agent dies"));
  const uint64_t number = copy->session.number;
  StopCopy(copy, machine_stops);
  if (machine_stops) {
    ++copy->boot;
    copy->running = false;
  } else {
    copy->host.disk.Crash();
  }
  LoseAtServer(copy->machine.id, number);
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(5)), [this, copy] {
    const bool has_vm = !copy->in_vm.empty() || !copy->in_azure.empty();
    const bool off = (copy->left_behind && !copy->running) || (has_vm && !copy->vm_on);
    if (!copy->host.up && !off) StartCopy(copy);
  });
}

void Fabric::ScheduleWrite(Guest* machine) {
  world_.After(world_.Between(absl::ZeroDuration(), write_gap_max_), [this, machine] {
    for (auto& copy : machine->copies) {
      const bool current = copy == machine->copies.back();
      if (copy->running && !(current && machine->resting)) WriteSomething(copy.get());
    }
    if (Copy* const early = machine->early.get();
        early != nullptr && early->running && !machine->resting)
      WriteSomething(early);
    for (auto& clone : machine->clones) {
      if (clone->running) WriteSomething(clone.get());
    }
    ScheduleWrite(machine);
  });
}

void Fabric::WriteSomething(Copy* copy) {
  SourceDisk& disk = *copy->disks[world_.Pick(copy->disks.size())];
  const uint64_t sectors = disk.size_bytes() / kSectorBytes;
  const uint64_t length = 1 + world_.Pick(8);
  std::string bytes(length * kSectorBytes, '\0');
  if (!world_.Chance(0.2)) {
    for (size_t i = 0; i < bytes.size(); i += 64) bytes[i] = static_cast<char>(world_.random());
  }
  disk.Write(world_.Pick(sectors - length + 1) * kSectorBytes, bytes);
}

void Fabric::TakePoint(const Copy& copy, const Marker& marker) {
  Made made;
  made.copy = copy.number;
  made.order = ++points_made_;
  for (const auto& disk : copy.disks) made.content.push_back(disk->content());
  Say(absl::StrCat("point ", marker.id, " of ", NameOf(copy)));
  if (!copy.machine.points.emplace(marker.id, std::move(made)).second)
    Fail(absl::StrCat("point ", marker.id, " of ", copy.machine.id, " was made twice"));
}

void Fabric::ScheduleClone(Guest* guest) {
  world_.After(world_.Between(absl::Seconds(1), absl::Seconds(30)), [this, guest] {
    if (!faulty()) return;
    Clone(guest);
    ScheduleClone(guest);
  });
}

void Fabric::Clone(Guest* guest) {
  Copy& original = *guest->copies.back();
  const auto machine = brain_ == nullptr ? std::nullopt : brain_->store().Get<Machine>(guest->id);
  const bool runs = original.running && original.host.up && !original.left_behind;
  // Before the server has seen the machine, or while it moves, there is no telling them apart.
  if (!runs || guest->boots || !machine.has_value() || machine->state() != storage::v1::PROTECTED ||
      !machine->job_id().empty() ||
      machine->admission().admitted().hardware_uuid() != original.hardware_uuid)
    return;
  const size_t number = kClones + guest->clones.size();
  auto clone = std::make_unique<Copy>(guest, number, world_.random());
  clone->is_clone = true;
  clone->hardware_uuid = absl::StrCat(guest->id, "-clone-", number);
  for (auto& disk : original.disks) {
    clone->disks.push_back(std::make_unique<SourceDisk>(disk->size_bytes(), guest->logs));
    clone->disks.back()->Write(0, disk->content());
  }
  clone->disk_uuids = original.disk_uuids;
  clone->in_vm = original.in_vm;
  const std::string streams = JoinPath(kStateDirectory, "streams");
  const absl::StatusOr<std::vector<std::string>> names = original.host.disk.List(streams);
  if (names.ok() && clone->host.disk.MakeDirectories(streams).ok()) {
    for (const std::string& name : *names) {
      const std::string path = JoinPath(streams, name);
      WriteFileAtomically(clone->host.disk, path, original.host.disk.Content(path)).IgnoreError();
    }
  }
  Say(absl::StrCat(NameOf(original), " is cloned"));
  guest->clones.push_back(std::move(clone));
  Copy* const made = guest->clones.back().get();
  StartCopy(made);
  // It knows all that its original was told but the fence, which is the session's.
  control::v1::AgentDesired stolen = original.told;
  if (stolen.has_protection() && made->protection != nullptr) {
    stolen.mutable_protection()->set_fence(world_.Chance(0.5) ? 0 : 1 + world_.Pick(kMiB));
    made->protection->Want(stolen);
  }
  world_.After(world_.Between(absl::Seconds(2), absl::Seconds(20)),
               [this, made] { StopClone(made); });
}

void Fabric::StopClone(Copy* clone) {
  clone->running = false;
  StopCopy(clone, false);
}

// --- faults

void Fabric::ReapTheDead() {
  for (auto& component : components_) {
    if (component->host.up && (component->host.disk.dead() || component->died_there))
      KillComponent(component.get(), false);
  }
  for (auto& machine : machines_) {
    for (auto& copy : machine->copies) {
      if (copy->host.up && copy->host.disk.dead()) KillAgent(copy.get());
    }
  }
}

Outcome RunFabric(uint64_t seed, const RunOptions& options) {
  return Fabric(seed, options, Fabric::Kind::kDirectories).Run();
}
Outcome RunVcenterFabric(uint64_t seed, const RunOptions& options) {
  return Fabric(seed, options, Fabric::Kind::kVcenter).Run();
}
Outcome RunAzureFabric(uint64_t seed, const RunOptions& options) {
  return Fabric(seed, options, Fabric::Kind::kAzure).Run();
}

}  // namespace homeward::simulation
