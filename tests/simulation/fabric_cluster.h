// The configuration server with its agents, process servers and master targets. Faults and oracles:
// fabric.h.
//
// fabric.cc runs the components, fabric_operator.cc gives the orders, fabric_faults.cc strikes,
// fabric_oracles.cc judges; fabric_vcenter.cc has the VMs, fabric_azure.cc those in Azure.
#ifndef HOMEWARD_TESTS_SIMULATION_FABRIC_CLUSTER_H_
#define HOMEWARD_TESTS_SIMULATION_FABRIC_CLUSTER_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config_server/jobs/brain.h"
#include "config_server/model/placement.h"
#include "config_server/model/rules.h"
#include "tests/simulation/fabric_azure.h"
#include "tests/simulation/fabric_components.h"
#include "tests/simulation/fabric_vcenter.h"
#include "tests/simulation/scenario.h"

namespace homeward::simulation {

class Fabric : public Scenario {
 public:
  enum class Kind { kDirectories, kVcenter, kAzure };  // each has what those before it have
  Fabric(uint64_t seed, const RunOptions& options, Kind kind);

  Outcome Run();

 private:
  using Job = storage::v1::Job;
  using Machine = storage::v1::Machine;
  static constexpr absl::Duration kFaultyTime = absl::Seconds(60);
  static constexpr absl::Duration kQuietTime = absl::Seconds(240);
  static constexpr uint64_t kVolumeBytes = kGiB;

  bool faulty() const { return world_.Monotonic() < faulty_time_; }
  bool AllHome() const;
  StreamRuntime RuntimeOf(Host* host, StreamDialer* dialer);
  // --- the configuration server

  void StartServer();
  void StopServer();
  // What is asked of it may be its death.
  void Ask(const std::function<void(Brain&)>& ask);
  void KeepStepping();
  // What was answered is remembered.
  void CheckRecords();
  // A job of many machines has one for each, or none yet; at the end it has ended.
  void CheckParents(bool ended);

  // --- sessions

  absl::Duration Arrival(absl::Duration* last);
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
          NoteRefused(*owner, number.status());
          return;
        }
        session.number = *number;
        session.revision = 0;
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
    control::v1::Heartbeat seen = Observe(*owner);
    seen.set_desired_revision(owner->session.revision);
    world_.After(Arrival(&owner->session.up), [this, owner, attempt, seen = std::move(seen)] {
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
    CheckSent(*owner, down.desired());
    world_.After(Arrival(&owner->session.down),
                 [this, owner, attempt, incarnation, desired = down.desired()] {
                   if (owner->host.incarnation != incarnation || !owner->host.up ||
                       owner->session.attempt != attempt)
                     return;
                   owner->session.revision = desired.revision();
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

  static std::string NameOf(const Component& component) { return component.name; }
  static std::string NameOf(const Copy& copy);
  static std::string HostIdOf(const Component& component) { return component.name; }
  static std::string HostIdOf(const Copy& copy) { return copy.machine.id; }
  control::v1::Registration RegistrationOf(const Component& component);
  control::v1::Registration RegistrationOf(const Copy& copy);
  void NoteRegistered(const Component&) {}
  void NoteRegistered(const Copy& copy);
  void NoteRefused(const Component&, const absl::Status&) {}
  void NoteRefused(Copy& copy, const absl::Status& why);
  control::v1::Heartbeat Observe(Component& component);
  control::v1::Heartbeat Observe(Copy& copy);
  void Obey(Component* component, const control::v1::Desired& desired);
  // When it is sent: what was sent before may still be on its way.
  void CheckSent(const Copy& copy, const control::v1::Desired& desired);
  void CheckSent(const Component&, const control::v1::Desired&) {}
  void Obey(Copy* copy, const control::v1::Desired& desired);

  // --- process servers and master targets

  void StartComponent(Component* component);
  void KeepReconciling(Component* component, uint64_t incarnation);
  void StopComponent(Component* component);
  void KillComponent(Component* component, bool with_its_disk);
  // It notices late that a session is over.
  void LoseAtServer(const std::string& host_id, uint64_t number);

  // --- machines

  // `disks`: what it came home with; null for the first copy.
  std::unique_ptr<Copy> MakeCopy(Guest* machine, const std::vector<std::string>* disks);
  void StartCopy(Copy* copy);
  // `with_machine`: the machine stops in good order too, so that the agent's map is good when both
  // start again.
  void StopCopy(Copy* copy, bool with_machine);
  void KillAgent(Copy* copy);
  void ScheduleWrite(Guest* machine);
  void WriteSomething(Copy* copy);
  void TakePoint(const Copy& copy, const Marker& marker);
  // Copies a machine that runs, with its agent's state, and starts the copy beside it.
  void ScheduleClone(Guest* guest);
  void Clone(Guest* guest);
  void StopClone(Copy* clone);

  // --- what the records say, against what there is

  // After everything the server did.
  void LookAtMachines();
  // A replica's points are of one copy: the one that counts, or, once fenced, the one before.
  void CheckOnePast(const Guest& guest, const Machine& machine);
  void BringHome(Guest* guest, const Machine& machine);
  // Boots from what is there now: another failback may be at work on it.
  void TryBoot(Guest* guest);

  // --- VMs

  void BuildVcenter(uint64_t seed);
  void ScheduleVcenterFault();
  void TurnOff(Copy* copy);
  void TurnOffByHand(Copy* copy);
  void DeleteVm(const Machine& machine);
  void BuildBystander(Guest* guest, const vsphere::Vm& vm);
  // Runs in the VM from now on, which has its disks.
  void PutIntoVm(Copy* copy, const vsphere::Vm& vm, const std::vector<std::string>& disk_uuids);
  void CheckNoted(const VmMove& move);
  void CheckPlaces(const Machine& machine);

  // --- Azure

  void BuildAzure(uint64_t seed);
  void KeepReplicasInAzure(Component* component);
  ModelPageBlobs::Loss OnRequest(Component* component);
  void BuildStrangers();
  void ScheduleAzureFault();
  void StrikeAzure();
  bool Import(const std::string& name, const ModelCloud::Disk& disk);
  void ChangePower(const std::string& name, const ModelCloud::Vm& vm);
  void ChangeTestPower(Guest* guest, const std::string& name, const ModelCloud::Vm& vm);
  void BootInAzure(Guest* guest, const std::string& name, const ModelCloud::Vm& vm);
  // Its VM was started again, where it was.
  void WakeUp(Copy* copy);
  // What was turned off and could not be started again is left to the operator, and is named.
  void StartByHand(Brain& brain, Guest* guest);
  void TurnOnAtHome(Guest* guest, const vsphere::Vm& vm);
  void TurnOffInAzure(Copy* copy);
  // What BringHome() is for a machine that goes there.
  void LandInAzure(Guest* guest, const Machine& machine);
  void CheckCloudStep(const CloudMove& move, const CloudStep& step);
  // Nothing else of the machine runs, or is not known to.
  void CheckAlone(const Guest& guest, const std::string& but);
  void CheckSnapshots();
  // Of what was made for the machine nothing is there any more.
  void CheckGone(const Guest& guest);
  // It lives in Azure for good.
  void CheckStays(const Guest& guest, const Machine& machine);
  Guest* GuestOf(const ModelCloud::Vm& vm);

  // --- the operator

  PlacementWish WishOf(const View& view, const Guest& guest, const Machine& machine,
                       storage::v1::Operation operation);
  // The latest one or, while there are faults, another.
  std::string APoint(const View& view, const Machine& machine);
  void ScheduleOperator(Guest* guest);
  void ScheduleFailback(Guest* guest);
  void Meddle(Brain& brain, Guest* guest, const Machine& machine);
  // Everything is to end well now.
  void GoHome(Brain& brain, Guest* guest, const Machine& machine);
  // Points of all machines as one job, or such a job is cancelled.
  void MeddleWithAll(Brain& brain);
  void Start(Brain& brain, Guest* guest, const Machine& machine, storage::v1::Operation operation);

  // --- faults

  // Each batch, as it leaves: no nonce serves two. Sometimes it is changed, or replaced.
  void OnBatch(SealedBatch* batch);
  void OnBeside(SealedBatch* batch);
  void OnRefusal(bool to_relay, const replication::v1::Refusal& refusal);
  void ScheduleFault();
  void Strike();
  void ReapTheDead();
  void DescribeTheStuck();

  Switchboard board_{&world_};
  Settings settings_;
  absl::Duration faulty_time_ = kFaultyTime, quiet_time_ = kQuietTime;
  absl::Duration write_gap_max_, fault_gap_max_;
  bool commit_deaths_ = false;
  bool few_kinds_ = false;  // of faults
  // Streams are encrypted, and somebody on the way changes what is. Decided by the seed alone, with
  // random numbers of its own, so that what happens in other seeds stays.
  bool encrypts_ = false;
  bool wire_meddles_ = false;  // somebody between two hosts does so, and not a process server
  std::mt19937_64 mischief_;
  // Digests of what each key and nonce sealed, and of what was made of that on the way.
  std::map<std::pair<uint64_t, std::array<uint8_t, kNonceBytes>>, std::string> nonces_;
  std::set<std::string> changed_;
  SimulatedStore::Records records_;
  std::string last_parent_;  // the last job of all machines that was answered for
  std::map<std::string, storage::v1::TaskState> jobs_;  // that were answered for
  uint64_t points_made_ = 0;
  uint64_t server_incarnation_ = 0;
  std::vector<std::unique_ptr<Component>> components_;
  std::vector<std::unique_ptr<Guest>> machines_;
  std::unique_ptr<FabricVcenter> vcenter_;  // null: machines come home to directories only
  std::unique_ptr<FabricAzure> azure_;      // null: there is none
  uint64_t vms_made_ = 0;
  std::unique_ptr<Brain> brain_;
};

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_FABRIC_CLUSTER_H_
