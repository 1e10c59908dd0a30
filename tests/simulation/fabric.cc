#include "tests/simulation/fabric.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "common/wire/time_proto.h"
#include "config_server/jobs/brain.h"
#include "tests/simulation/fabric_parts.h"

namespace homeward::simulation {
namespace {

using storage::v1::Job;
using storage::v1::Machine;

constexpr absl::Duration kFaultyTime = absl::Seconds(60);
constexpr absl::Duration kQuietTime = absl::Seconds(240);
constexpr uint64_t kVolumeBytes = kGiB;
constexpr char kStateDirectory[] = "/agent";

class Fabric {
 public:
  Fabric(uint64_t seed, const RunOptions& options) : world_(seed), options_(options) {
    settings_.heartbeat_interval = absl::Seconds(1);
    settings_.heartbeat_timeout = world_.Between(absl::Seconds(8), absl::Seconds(40));
    settings_.registration_window = absl::Seconds(10);
    uint64_t number = seed * 64;
    const uint64_t servers = 1 + world_.Pick(2), targets = 1 + world_.Pick(2);
    for (uint64_t i = 0; i < servers; ++i)
      parts_.push_back(std::make_unique<Part>(++number, absl::StrCat("ps", i)));
    for (uint64_t i = 0; i < targets; ++i) {
      parts_.push_back(std::make_unique<Part>(++number, absl::StrCat("mt", i)));
      parts_.back()->is_target = true;
      parts_.back()->host.disk.MakeDirectories("/ds").IgnoreError();
    }
    for (auto& part : parts_) {
      part->host.disk.set_capacity_bytes(kVolumeBytes);
      board_.Install(part.get());
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
    commit_deaths_ = world_.Chance(0.5);
    few_kinds_ = world_.Chance(0.5);
  }

  Outcome Run() {
    StartServer();
    for (auto& part : parts_) StartPart(part.get());
    for (auto& machine : machines_) {
      StartCopy(machine->copies.back().get());
      ScheduleWrite(machine.get());
      ScheduleOperator(machine.get());
    }
    KeepStepping();
    ScheduleFault();
    while (outcome_.ok && world_.Monotonic() < kFaultyTime + kQuietTime && !AllHome() &&
           world_.Step())
      ReapTheDead();
    if (outcome_.ok && !AllHome()) DescribeTheStuck();
    // Calls still refer to strands: nothing of theirs may run while all is taken down.
    for (auto& part : parts_) StopPart(part.get());
    for (auto& machine : machines_) {
      for (auto& copy : machine->copies) StopCopy(copy.get(), false);
    }
    return outcome_;
  }

 private:
  bool faulty() const { return world_.Monotonic() < kFaultyTime; }
  bool AllHome() const {
    return std::all_of(machines_.begin(), machines_.end(),
                       [](const auto& machine) { return machine->home; });
  }
  void Say(const std::string& what) {
    if (options_.trace)
      std::printf("%12s  %s\n", absl::FormatDuration(world_.Monotonic()).c_str(), what.c_str());
  }
  void Fail(const std::string& why) {
    if (!outcome_.ok) return;
    outcome_.ok = false;
    outcome_.failure = absl::StrCat("at ", absl::FormatDuration(world_.Monotonic()), ": ", why);
    Say("FAILED " + why);
  }
  StreamRuntime RuntimeOf(Host* host, StreamDialer* dialer) {
    return {host->disk, world_,
            [this, host](const std::string&) -> std::unique_ptr<Strand> {
              return std::make_unique<SimulatedStrand>(&world_, host);
            },
            dialer};
  }
  // --- the configuration server

  void StartServer() {
    records_.commits_left = UINT64_MAX;
    brain_ =
        std::make_unique<Brain>(world_, settings_, std::make_unique<SimulatedStore>(&records_));
    CheckRecords();
  }
  void StopServer() {
    Say("configuration server dies");
    ++outcome_.crashes;
    brain_.reset();
    ++server_incarnation_;
    for (auto& part : parts_) LoseSession(&part->session, [&] { KeepSession(part.get()); });
    for (auto& machine : machines_) {
      for (auto& copy : machine->copies)
        LoseSession(&copy->session, [this, &copy] { KeepSession(copy.get()); });
    }
    world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(4)), [this] {
      if (brain_ == nullptr) StartServer();
    });
  }
  // What is asked of it may be its death.
  void Ask(const std::function<void(Brain&)>& ask) {
    if (brain_ == nullptr) return;
    try {
      ask(*brain_);
    } catch (const ServerDied&) {
      return StopServer();
    }
    LookAtMachines();
  }
  void KeepStepping() {
    Ask([](Brain& brain) { brain.Step(); });
    world_.After(absl::Milliseconds(200), [this] { KeepStepping(); });
  }
  // What was answered is remembered.
  void CheckRecords() {
    for (auto& [id, state] : jobs_) {
      const auto job = brain_->store().Get<Job>(id);
      if (!job.has_value()) return Fail(absl::StrCat("job ", id, " was started and is forgotten"));
    }
    LookAtMachines();
  }

  // --- sessions

  absl::Duration Arrival(absl::Duration* last) {
    *last = std::max(*last, world_.Monotonic() +
                                world_.Between(absl::Microseconds(100), absl::Milliseconds(60)));
    return *last - world_.Monotonic();
  }
  template <typename KeepOpen>
  void LoseSession(Session* session, KeepOpen keep) {
    ++session->attempt;
    session->open = false;
    session->number = 0;
    keep();
  }
  // Opens a session, again and again, and reports as long as it lasts.
  template <typename Owner>
  void KeepSession(Owner* owner, absl::Duration first_delay = absl::ZeroDuration()) {
    Session& session = owner->session;
    const uint64_t attempt = ++session.attempt;
    const uint64_t incarnation = owner->host.incarnation;
    session.open = false;
    const absl::Duration delay =
        first_delay + world_.Between(absl::Milliseconds(50), absl::Seconds(2));
    world_.After(delay, [this, owner, attempt, incarnation] {
      Session& session = owner->session;
      if (session.attempt != attempt || owner->host.incarnation != incarnation || !owner->host.up)
        return;
      if (brain_ == nullptr) return KeepSession(owner);
      bool opened = false;
      Ask([&](Brain& brain) {
        const absl::StatusOr<uint64_t> number = brain.Register(
            RegistrationOf(*owner),
            {.send = [this, owner,
                      attempt](const control::v1::Down& down) { Deliver(owner, attempt, down); },
             .end =
                 [this, owner, attempt](const absl::Status&) {
                   world_.After(absl::Milliseconds(20), [this, owner, attempt] {
                     if (owner->session.attempt == attempt) KeepSession(owner);
                   });
                 }});
        if (!number.ok()) {
          Say(absl::StrCat(NameOf(*owner), " is refused: ", number.status().message()));
          return;
        }
        session.number = *number;
        opened = true;
        NoteRegistered(*owner);
        brain.Step();
      });
      if (session.attempt != attempt) return;
      if (!opened) return KeepSession(owner, absl::Seconds(1));
      session.open = true;
      Report(owner, attempt);
    });
  }
  template <typename Owner>
  void Report(Owner* owner, uint64_t attempt) {
    if (owner->session.attempt != attempt || !owner->host.up) return;
    const absl::Duration frozen = owner->host.frozen_until - world_.Monotonic();
    if (frozen > absl::ZeroDuration())
      return world_.After(frozen, [this, owner, attempt] { Report(owner, attempt); });
    world_.After(Arrival(&owner->session.up), [this, owner, attempt, seen = Observe(*owner)] {
      if (owner->session.attempt != attempt) return;
      Ask([&](Brain& brain) {
        brain.fleet().Hear(HostIdOf(*owner), owner->session.number, seen);
        brain.Step();
      });
    });
    world_.After(absl::Milliseconds(250), [this, owner, attempt] { Report(owner, attempt); });
  }
  template <typename Owner>
  void Deliver(Owner* owner, uint64_t attempt, const control::v1::Down& down) {
    const uint64_t incarnation = owner->host.incarnation;
    if (!down.has_desired()) return;
    world_.After(Arrival(&owner->session.down),
                 [this, owner, attempt, incarnation, desired = down.desired()] {
                   if (owner->host.incarnation != incarnation || !owner->host.up ||
                       owner->session.attempt != attempt)
                     return;
                   Obey(owner, desired);
                 });
  }
  template <typename Owner>
  void CutSession(Owner* owner) {
    ++outcome_.cuts;
    Say(absl::StrCat("session of ", NameOf(*owner), " is cut"));
    const uint64_t number = owner->session.number;
    if (owner->session.open) LoseAtServer(HostIdOf(*owner), number);
    KeepSession(owner);
  }

  static std::string NameOf(const Part& part) { return part.name; }
  static std::string NameOf(const Copy& copy) {
    return absl::StrCat(copy.machine.id, " copy ", copy.number);
  }
  static std::string HostIdOf(const Part& part) { return part.name; }
  static std::string HostIdOf(const Copy& copy) { return copy.machine.id; }
  control::v1::Registration RegistrationOf(const Part& part) {
    control::v1::Registration out;
    out.set_role(part.is_target ? types::v1::MASTER_TARGET : types::v1::PROCESS_SERVER);
    out.set_host_id(part.name);
    out.set_name(part.name);
    out.set_os_type(types::v1::LINUX);
    out.set_replication_address(part.name);
    return out;
  }
  control::v1::Registration RegistrationOf(const Copy& copy) {
    control::v1::Registration out;
    out.set_role(types::v1::AGENT);
    out.set_host_id(copy.machine.id);
    out.set_name(copy.machine.id);
    out.set_os_type(types::v1::LINUX);
    out.set_boot_id(absl::StrCat(copy.machine.id, "-", copy.number, "-", copy.boot));
    out.set_hardware_uuid(absl::StrCat(copy.machine.id, "-hardware-", copy.number));
    for (size_t i = 0; i < copy.machine.disk_bytes.size(); ++i) {
      types::v1::Disk* const disk = out.add_disks();
      disk->set_name(absl::StrCat("disk", i));
      disk->set_size_bytes(copy.machine.disk_bytes[i]);
    }
    return out;
  }
  void NoteRegistered(const Part&) {}
  void NoteRegistered(const Copy& copy) {
    if (copy.left_behind)
      Fail(absl::StrCat(NameOf(copy), " was left behind by a failback and registered"));
  }
  control::v1::Heartbeat Observe(Part& part) {
    control::v1::Heartbeat out;
    if (!part.is_target) {
      control::v1::ProcessServerObserved& seen = *out.mutable_process_server();
      part.relays->Observe(&seen);
      seen.set_cache_total_bytes(100);
      seen.set_cache_free_bytes(90);
      return out;
    }
    control::v1::MasterTargetObserved& seen = *out.mutable_master_target();
    for (control::v1::ReplicaObserved& replica : part.replicas->observed())
      *seen.add_replicas() = std::move(replica);
    types::v1::Datastore* const datastore = seen.add_datastores();
    datastore->set_path("/ds");
    datastore->set_total_bytes(kVolumeBytes);
    datastore->set_free_bytes(kVolumeBytes / 2);
    *seen.mutable_retention_volume() = *datastore;
    return out;
  }
  control::v1::Heartbeat Observe(Copy& copy) {
    control::v1::Heartbeat out;
    *out.mutable_agent() = copy.protection->observed();
    for (const types::v1::HealthIssue& issue : copy.protection->issues()) *out.add_issues() = issue;
    return out;
  }
  void Obey(Part* part, const control::v1::Desired& desired) {
    part->strand->Post([part, desired] {
      if (part->is_target) {
        part->replicas->Want(desired.master_target());
      } else {
        part->relays->Want(desired.process_server());
      }
    });
  }
  void Obey(Copy* copy, const control::v1::Desired& desired) {
    if (desired.agent().has_protection() && copy->left_behind)
      Fail(absl::StrCat(NameOf(*copy), " was left behind and is told to replicate"));
    Guest& guest = copy->machine;
    guest.streamed_generation =
        std::max(guest.streamed_generation, desired.agent().protection().generation());
    copy->protection->Want(desired.agent());
  }

  // --- process servers and master targets

  void StartPart(Part* part) {
    Host& host = part->host;
    host.up = true;
    const uint64_t incarnation = ++host.incarnation;
    if (!host.disk.MakeDirectories(part->is_target ? "/retention" : "/spool").ok()) return;
    part->strand = std::make_unique<SimulatedStrand>(&world_, &host);
    if (part->is_target) {
      part->replicas = std::make_unique<Replicas>(
          RuntimeOf(&host, nullptr),
          Replicas::Volumes{
              .retention_directory = "/retention", .datastores = {"/ds"}, .block_devices = {}});
    } else {
      part->dialer = std::make_unique<Dialer>(&board_, &host);
      part->relays = std::make_unique<Relays>(
          RuntimeOf(&host, part->dialer.get()),
          Relays::Limits{.cache_directory = "/spool", .cache_bytes_max = 64 * kMiB},
          Relay::Options());
      KeepReconciling(part, incarnation);
    }
    KeepSession(part);
  }
  void KeepReconciling(Part* part, uint64_t incarnation) {
    if (part->host.incarnation != incarnation || !part->host.up) return;
    part->strand->Post([part] { part->relays->Reconcile(); });
    world_.After(absl::Seconds(1),
                 [this, part, incarnation] { KeepReconciling(part, incarnation); });
  }
  void StopPart(Part* part) {
    if (!part->host.up) return;
    part->host.up = false;
    ++part->host.incarnation;
    ++part->session.attempt;
    part->host.disk.DieAfter(0);
    for (const auto& held : std::exchange(part->calls, {})) {
      if (const auto call = held.lock()) call->CalledDied();
    }
    board_.EndCallsOf(&part->host);
    part->strand->Stop();
    part->replicas.reset();
    part->relays.reset();
  }
  void KillPart(Part* part, bool with_its_disk) {
    if (!part->host.up) return;
    ++outcome_.crashes;
    Say(absl::StrCat(part->name, " dies", with_its_disk ? " with its disk" : ""));
    const uint64_t number = part->session.number;
    StopPart(part);
    if (with_its_disk) {
      part->host.disk.Replace();
    } else {
      part->host.disk.Crash();
    }
    LoseAtServer(part->name, number);
    world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(4)),
                 [this, part] { StartPart(part); });
  }
  // It notices late that a session is over.
  void LoseAtServer(const std::string& host_id, uint64_t number) {
    world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(3)),
                 [this, host_id, number, incarnation = server_incarnation_] {
                   if (incarnation != server_incarnation_) return;
                   Ask([&](Brain& brain) { brain.fleet().Disconnect(host_id, number); });
                 });
  }

  // --- machines

  // `disks`: what it came home with; null for the first copy.
  std::unique_ptr<Copy> MakeCopy(Guest* machine, const std::vector<std::string>* disks) {
    const size_t number = machine->copies.size();
    auto copy = std::make_unique<Copy>(machine, number, world_.random());
    for (size_t i = 0; i < machine->disk_bytes.size(); ++i) {
      copy->disks.push_back(std::make_unique<SourceDisk>(machine->disk_bytes[i], machine->logs));
      if (disks != nullptr) copy->disks.back()->Write(0, (*disks)[i]);
    }
    copy->registration_delay = disks == nullptr
                                   ? absl::ZeroDuration()
                                   : world_.Between(absl::ZeroDuration(), absl::Seconds(8));
    return copy;
  }
  void StartCopy(Copy* copy) {
    Host& host = copy->host;
    host.up = true;
    ++host.incarnation;
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
    options.stream.frozen_bytes_max = 48 * kKiB;
    options.stream.log_bytes_max = 32 * kKiB;
    options.stream.digest_block_bytes = 4 * kKiB;
    options.stream.in_flight_max = 200;
    options.stream.epoch_stride = world_.Pick(kMiB);
    options.marker_taken = [this, copy](const Marker& marker) { TakePoint(*copy, marker); };
    copy->protection = std::make_unique<Protection>(RuntimeOf(&host, copy->dialer.get()),
                                                    std::move(options), &copy->captured);
    KeepSession(copy, std::exchange(copy->registration_delay, absl::ZeroDuration()));
  }
  // `with_machine`: the machine stops in good order too, so that the agent's map is good when both
  // start again.
  void StopCopy(Copy* copy, bool with_machine) {
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
  void KillAgent(Copy* copy) {
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
      if (!copy->host.up && !(copy->left_behind && !copy->running)) StartCopy(copy);
    });
  }
  void ScheduleWrite(Guest* machine) {
    world_.After(world_.Between(absl::ZeroDuration(), write_gap_max_), [this, machine] {
      for (auto& copy : machine->copies) {
        const bool current = copy == machine->copies.back();
        if (copy->running && !(current && machine->resting)) WriteSomething(copy.get());
      }
      ScheduleWrite(machine);
    });
  }
  void WriteSomething(Copy* copy) {
    SourceDisk& disk = *copy->disks[world_.Pick(copy->disks.size())];
    const uint64_t sectors = disk.size_bytes() / kSectorBytes;
    const uint64_t length = 1 + world_.Pick(8);
    std::string bytes(length * kSectorBytes, '\0');
    if (!world_.Chance(0.2)) {
      for (size_t i = 0; i < bytes.size(); i += 64) bytes[i] = static_cast<char>(world_.random());
    }
    disk.Write(world_.Pick(sectors - length + 1) * kSectorBytes, bytes);
  }
  void TakePoint(const Copy& copy, const Marker& marker) {
    Made made;
    made.copy = copy.number;
    made.order = ++points_made_;
    for (const auto& disk : copy.disks) made.content.push_back(disk->content());
    Say(absl::StrCat("point ", marker.id, " of ", NameOf(copy)));
    if (!copy.machine.points.emplace(marker.id, std::move(made)).second)
      Fail(absl::StrCat("point ", marker.id, " of ", copy.machine.id, " was made twice"));
  }

  // --- what the records say, against what there is

  // After everything the server did.
  void LookAtMachines() {
    if (brain_ == nullptr) return;
    for (auto& guest : machines_) {
      const auto machine = brain_->store().Get<Machine>(guest->id);
      if (!machine.has_value()) continue;
      const bool came_home = machine->state() == storage::v1::FAILED_BACK;
      if (came_home && machine->job_id().empty() && !guest->wish.empty())
        BringHome(guest.get(), *machine);
      if (!came_home && machine->job_id().empty()) guest->wish.clear();
      CheckOnePast(*guest, *machine);
    }
  }
  // A replica's points are of one copy: the one that counts, or, once fenced, the one before.
  void CheckOnePast(const Guest& guest, const Machine& machine) {
    Part* const target = board_.PartAt(machine.assignment().master_target_id());
    if (target == nullptr || !target->host.up || target->replicas == nullptr) return;
    for (const control::v1::ReplicaObserved& replica : target->replicas->observed()) {
      if (replica.replica_id() != machine.assignment().replica_id()) continue;
      std::set<size_t> copies;
      for (const types::v1::RecoveryPoint& point : replica.points()) {
        const auto made = guest.points.find(point.id());
        if (made == guest.points.end())
          return Fail(absl::StrCat("a point that nobody made: ", point.id()));
        copies.insert(made->second.copy);
      }
      if (copies.size() > 1)
        Fail(absl::StrCat("the replica of ", guest.id, " has points of two copies"));
    }
  }
  void BringHome(Guest* guest, const Machine& machine) {
    const std::string& id = machine.assignment().point_id();
    if (machine.generation() <= guest->streamed_generation)
      return Fail(absl::StrCat(guest->id, " came home in a generation that its source streams in"));
    Part* const target = board_.PartAt(machine.assignment().master_target_id());
    const auto made = guest->points.find(id);
    if (made == guest->points.end()) return Fail("came home at a point that nobody made: " + id);
    std::vector<std::string> content;
    for (int i = 0; i < machine.home_disks_size(); ++i) {
      const std::string flat = absl::StrCat(
          machine.home_disks(i).substr(0, machine.home_disks(i).size() - 5), "-flat.vmdk");
      content.push_back(target->host.disk.Content(flat));
      if (content.back() != made->second.content[static_cast<size_t>(i)])
        return Fail(
            absl::StrCat(guest->id, " came home at point ", id, " and disk ", i, " differs"));
    }
    ++outcome_.views_checked;
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
      guest->home = true;
      return;
    }
    guest->boots = true;
    // The old copy may run on for a while, with its agent.
    Copy* const old = guest->copies.back().get();
    old->left_behind = true;
    world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(15)), [this, old] {
      old->running = false;
      StopCopy(old, false);
    });
    world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(6)),
                 [this, guest] { TryBoot(guest); });
  }
  // Boots from what is there now: another failback may be at work on it.
  void TryBoot(Guest* guest) {
    const auto again = [&] { world_.After(absl::Seconds(1), [this, guest] { TryBoot(guest); }); };
    if (brain_ == nullptr) return again();
    const auto machine = brain_->store().Get<Machine>(guest->id);
    Part* const target = board_.PartAt(machine->assignment().master_target_id());
    const bool at_rest = machine->job_id().empty() && guest->wish.empty();
    if (!at_rest || (target != nullptr && !target->host.up)) return again();
    std::vector<std::string> content;
    for (int i = 0; i < machine->home_disks_size(); ++i) {
      const std::string flat = absl::StrCat(
          machine->home_disks(i).substr(0, machine->home_disks(i).size() - 5), "-flat.vmdk");
      // A commit may have cleared the assignment; the disks are where they are.
      for (auto& part : parts_) {
        if (!part->is_target || part->host.disk.Content(flat).empty()) continue;
        content.push_back(part->host.disk.Content(flat));
        // It boots, and so it writes.
        const auto file = part->host.disk.Open(flat, OpenMode::kReadWrite);
        if (file.ok())
          (*file)->Write(0, AsBytes(content.back().substr(0, kSectorBytes))).IgnoreError();
        break;
      }
    }
    if (content.size() != guest->disk_bytes.size())
      return Fail(absl::StrCat(guest->id, " has no disks to boot from"));
    guest->boots = false;
    guest->copies.push_back(MakeCopy(guest, &content));
    Say(absl::StrCat(NameOf(*guest->copies.back()), " boots"));
    StartCopy(guest->copies.back().get());
  }

  // --- the operator

  void ScheduleOperator(Guest* guest) {
    world_.After(
        world_.Between(absl::Milliseconds(200), faulty() ? absl::Seconds(5) : absl::Seconds(1)),
        [this, guest] {
          Ask([&](Brain& brain) {
            const auto machine = brain.store().Get<Machine>(guest->id);
            if (!machine.has_value()) return;
            faulty() ? Meddle(brain, guest, *machine) : GoHome(brain, guest, *machine);
          });
          ScheduleOperator(guest);
        });
  }
  void ScheduleFailback(Guest* guest) {
    world_.After(world_.Between(absl::Milliseconds(1), absl::Seconds(1)), [this, guest] {
      Ask([&](Brain& brain) {
        const auto machine = brain.store().Get<Machine>(guest->id);
        if (machine.has_value() && machine->state() == storage::v1::PROTECTED &&
            machine->job_id().empty())
          Start(brain, guest, *machine, "failback");
      });
    });
  }
  void Meddle(Brain& brain, Guest* guest, const Machine& machine) {
    if (!machine.job_id().empty()) {
      // Half of the operators cancel a lot, and want it again at once.
      if (!world_.Chance(few_kinds_ ? 0.35 : 0.1)) return;
      const absl::StatusOr<Job> cancelled = brain.CancelJob(machine.job_id());
      Say(absl::StrCat("operator: cancel ", machine.job_id(), ": ", cancelled.status().ToString()));
      if (few_kinds_ && cancelled.ok() && cancelled->workflow() == "failback")
        ScheduleFailback(guest);
      return;
    }
    static const auto& kOperations = *new std::vector<std::string>{
        "protect", "reprotect", "resync", "create-point", "failback", "commit", "remove"};
    std::vector<std::string> wishes = AllowedOperations(machine);
    if (world_.Chance(0.1)) wishes = kOperations;  // Also what cannot be.
    if (wishes.empty()) return;
    const std::string operation = wishes[world_.Pick(wishes.size())];
    if (operation == "remove" && world_.Chance(0.7)) return;
    // A machine that is forgotten is forgotten with the copies it left behind.
    const bool haunted = std::any_of(guest->copies.begin(), guest->copies.end(),
                                     [](const auto& copy) { return copy->left_behind; });
    if (operation == "remove" && machine.state() == storage::v1::UNPROTECTED && haunted) return;
    // Once it was started, an operator would have to turn it off first.
    if (operation == "failback" && machine.state() == storage::v1::FAILED_BACK && !guest->boots)
      return;
    Start(brain, guest, machine, operation);
  }
  // Everything is to end well now.
  void GoHome(Brain& brain, Guest* guest, const Machine& machine) {
    if (!machine.job_id().empty() || guest->home || guest->boots) return;
    switch (machine.state()) {
      case storage::v1::UNPROTECTED:
        return Start(brain, guest, machine, "protect");
      case storage::v1::FAILED_BACK:
        return Start(brain, guest, machine, "commit");
      case storage::v1::COMMITTED:
        return Start(brain, guest, machine, "reprotect");
      case storage::v1::PROTECTED: {
        Copy& copy = *guest->copies.back();
        guest->resting = true;
        if (copy.protection == nullptr) return;
        const control::v1::AgentObserved seen = copy.protection->observed();
        if (seen.generation() != machine.generation() || seen.syncing() || seen.pending_bytes() > 0)
          return;
        return Start(brain, guest, machine, "failback");
      }
      default:
        return;
    }
  }
  void Start(Brain& brain, Guest* guest, const Machine& machine, const std::string& operation) {
    const std::map<std::string, std::string> before = records_.by_key;
    Job job;
    job.set_workflow(operation);
    job.set_machine_id(machine.machine_id());
    absl::Status wrong;
    const View view = brain.MakeView();
    Copy& copy = *guest->copies.back();
    if (Refusal refusal = CheckOperation(view, machine, operation)) wrong = Refused(*refusal);
    if (operation == "protect" || operation == "reprotect") {
      if (wrong.ok() && machine.has_handed_back_at() && !machine.has_registered_at())
        Fail(absl::StrCat(guest->id, " can be reprotected before its agent registers"));
      // Where its disks are, it cannot be replicated to; the place before that is free again.
      Placement placement =
          Place(view, machine, {.directory = absl::StrCat(guest->id, "-", guest->circles % 2)});
      if (wrong.ok() && placement.refusal) wrong = Refused(*placement.refusal);
      *placement.assignment.mutable_point_interval() = ToProto(guest->point_interval);
      *placement.assignment.mutable_retention_age() = ToProto(absl::Hours(24));
      *job.mutable_wanted() = std::move(placement.assignment);
    } else if (operation == "failback") {
      job.set_point("latest");
      const control::v1::ReplicaObserved* const replica = view.ReplicaOf(machine);
      if (faulty() && replica != nullptr && replica->points_size() > 0 && world_.Chance(0.5)) {
        const auto count = static_cast<uint64_t>(replica->points_size());
        job.set_point(replica->points(static_cast<int>(world_.Pick(count))).id());
      }
      job.set_source_lost(faulty() && world_.Chance(0.2));
    } else if (operation == "remove") {
      job.set_keep_disks(true);
    }
    if (wrong.ok()) {
      // Known before it is asked: the answer may be lost.
      if (operation == "failback") {
        guest->order_at_start = points_made_;
        guest->could_stop = machine.state() == storage::v1::PROTECTED && !job.source_lost() &&
                            view.fleet.alive(machine.machine_id()) && copy.host.up;
        guest->wish = job.point();
      }
      const absl::StatusOr<Job> started = brain.StartJob(job);
      wrong = started.status();
      if (started.ok()) jobs_[started->id()] = started->state();
    }
    Say(absl::StrCat("operator: ", operation, " ", guest->id, ": ", wrong.ToString()));
    ++(wrong.ok() ? outcome_.jobs : outcome_.refusals);
    if (!wrong.ok() && records_.by_key != before)
      Fail("a refused " + operation + " changed records");
  }

  // --- faults

  void ScheduleFault() {
    world_.After(world_.Between(absl::ZeroDuration(), fault_gap_max_), [this] {
      if (!faulty()) {
        for (auto& part : parts_) {
          part->host.disk.set_capacity_bytes(kVolumeBytes);
          part->host.disk.FailSyncs(0);
          part->host.disk.FailReads(0);
        }
        return;
      }
      if (options_.without_faults.count(outcome_.faults++) == 0) Strike();
      ScheduleFault();
    });
  }
  void Strike() {
    Part& part = *parts_[world_.Pick(parts_.size())];
    Guest& machine = *machines_[world_.Pick(machines_.size())];
    Copy& copy = *machine.copies.back();
    // As in the other world, half of the runs know few kinds of faults.
    constexpr uint64_t kStandStill = 15;
    uint64_t kind = world_.Pick(few_kinds_ ? 12 : kStandStill + 1);
    if (few_kinds_ && kind == 11) kind = kStandStill;
    switch (kind) {
      case 0:
        if (!commit_deaths_) return;
        records_.commits_left = world_.Pick(12);
        records_.dies_before = world_.Chance(0.5);
        return;
      case 1:
        return brain_ == nullptr ? void() : StopServer();
      case 2:
      case 3:
        return part.host.disk.DieAfter(world_.Pick(80));
      case 4:
        return KillPart(&part, !part.is_target && world_.Chance(0.5));
      case 5:
        return KillAgent(&copy);
      case 6:
        return copy.host.disk.DieAfter(world_.Pick(6));
      case 7:
        return CutSession(&part);
      case 8:
        machine.could_stop = false;
        return copy.host.up ? CutSession(&copy) : void();
      case 9: {
        ++outcome_.cuts;
        Say(absl::StrCat("calls to ", part.name, " are cut"));
        for (const auto& held : part.calls) {
          if (const auto call = held.lock())
            call->Cut(world_.Chance(0.5) ? absl::ZeroDuration()
                                         : world_.Between(absl::Milliseconds(1), absl::Seconds(4)));
        }
        return;
      }
      case 10: {
        world_.skew = absl::Hours(static_cast<int64_t>(world_.Pick(3)) - 1);
        if (!part.is_target) return;
        const auto space = part.host.disk.Space("/");
        part.host.disk.set_capacity_bytes(
            world_.Chance(0.5) ? space->total_bytes - space->free_bytes + world_.Pick(8192)
                               : kVolumeBytes);
        return;
      }
      case 11: {
        Say(absl::StrCat("syncs of ", part.name, " fail"));
        return part.host.disk.FailSyncs(1 + world_.Pick(2));
      }
      case 12: {
        Say(absl::StrCat("reads of ", part.name, " fail"));
        return part.host.disk.FailReads(1 + world_.Pick(3));
      }
      case 13:
        return part.is_target ? void() : DamageSpool(&part);
      case 14: {
        Say(absl::StrCat("calls to ", part.name, " have one direction"));
        const bool up = world_.Chance(0.5);
        for (const auto& held : part.calls) {
          if (const auto call = held.lock())
            call->Hold(up, world_.Between(absl::Milliseconds(100), absl::Seconds(20)));
        }
        return;
      }
      default: {
        Host& host = world_.Chance(0.5) ? part.host : copy.host;
        host.frozen_until =
            world_.Monotonic() + world_.Between(absl::Milliseconds(100), absl::Seconds(20));
        if (&host == &copy.host) machine.could_stop = false;
        Say("a host stands still");
        return;
      }
    }
  }
  void DamageSpool(Part* part) {
    std::vector<std::string> paths = part->host.disk.Paths();
    std::erase_if(paths, [](const std::string& path) { return !absl::EndsWith(path, ".hwl"); });
    if (paths.empty()) return;
    const std::string& path = paths[world_.Pick(paths.size())];
    const uint64_t bytes = part->host.disk.Content(path).size();
    if (bytes == 0) return;
    Say(absl::StrCat("a byte of ", path, " of ", part->name, " changes"));
    part->host.disk.FlipByte(path, world_.Pick(bytes));
  }
  void ReapTheDead() {
    for (auto& part : parts_) {
      if (part->host.up && part->host.disk.dead()) KillPart(part.get(), false);
    }
    for (auto& machine : machines_) {
      for (auto& copy : machine->copies) {
        if (copy->host.up && copy->host.disk.dead()) KillAgent(copy.get());
      }
    }
  }
  void DescribeTheStuck() {
    for (auto& guest : machines_) {
      if (guest->home) continue;
      std::string text = absl::StrCat(guest->id, " did not come home");
      const auto machine =
          brain_ == nullptr ? std::nullopt : brain_->store().Get<Machine>(guest->id);
      if (machine.has_value()) {
        absl::StrAppend(&text, ": ", StateName(machine->state()), ", generation ",
                        machine->generation());
        const auto job = brain_->store().Get<Job>(machine->job_id());
        if (job.has_value()) absl::StrAppend(&text, ", ", job->workflow(), " runs");
        const StepResult* const progress = brain_->ProgressOf(machine->job_id());
        if (progress != nullptr) absl::StrAppend(&text, ", waits for ", progress->detail);
      }
      Copy& copy = *guest->copies.back();
      if (copy.protection != nullptr)
        absl::StrAppend(&text, "; agent: ", copy.protection->observed().ShortDebugString());
      for (auto& part : parts_) {
        if (part->host.up && part->session.open)
          absl::StrAppend(&text, "; ", part->name, ": ", Observe(*part).ShortDebugString());
      }
      return Fail(text);
    }
  }

  World world_;
  Switchboard board_{&world_};
  const RunOptions& options_;
  Outcome outcome_;
  Settings settings_;
  absl::Duration write_gap_max_, fault_gap_max_;
  bool commit_deaths_ = false;
  bool few_kinds_ = false;  // of faults
  SimulatedStore::Records records_;
  std::map<std::string, storage::v1::TaskState> jobs_;  // that were answered for
  uint64_t points_made_ = 0;
  uint64_t server_incarnation_ = 0;
  std::vector<std::unique_ptr<Part>> parts_;
  std::vector<std::unique_ptr<Guest>> machines_;
  std::unique_ptr<Brain> brain_;
};

}  // namespace

Outcome RunFabric(uint64_t seed, const RunOptions& options) { return Fabric(seed, options).Run(); }

}  // namespace homeward::simulation
