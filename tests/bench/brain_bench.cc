// What a step of the configuration server costs with many machines that do nothing, and one job
// that waits. Prints the median, as JSON.
//
//   homeward-bench-brain MACHINES STEPS
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/clock/clock.h"
#include "common/status/status_macros.h"
#include "config_server/jobs/brain.h"
#include "config_server/model/placement.h"

namespace homeward {
namespace {

constexpr char kServer[] = "process-server", kTarget[] = "master-target";

std::string MachineId(uint64_t number) { return absl::StrFormat("%032x", number); }

absl::StatusOr<uint64_t> Register(Brain* brain, types::v1::ServerRole role, const std::string& id) {
  control::v1::Registration registration;
  registration.set_role(role);
  registration.set_host_id(id);
  registration.set_name(id);
  registration.set_boot_id("boot");
  registration.set_hardware_uuid(id);
  registration.set_os_type(types::v1::LINUX);
  registration.set_replication_address("10.0.0.1:9443");
  types::v1::Disk* const disk = registration.add_disks();
  disk->set_name("/dev/sda");
  disk->set_size_bytes(1 << 30);
  return brain->Register(
      registration, {.send = [](const control::v1::Down&) {}, .end = [](const absl::Status&) {}});
}

// One machine's job waits for its master target from now on.
absl::Status StartAJob(Brain* brain) {
  HW_RETURN_IF_ERROR(Register(brain, types::v1::PROCESS_SERVER, kServer).status());
  HW_ASSIGN_OR_RETURN(const uint64_t session, Register(brain, types::v1::MASTER_TARGET, kTarget));
  control::v1::Heartbeat heartbeat;
  control::v1::MasterTargetObserved& seen = *heartbeat.mutable_master_target();
  types::v1::Datastore* const datastore = seen.add_datastores();
  datastore->set_path("/ds1");
  datastore->set_total_bytes(100);
  datastore->set_free_bytes(50);
  *seen.mutable_retention_volume() = *datastore;
  brain->fleet().Hear(kTarget, session, heartbeat);
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain->FindMachine(MachineId(0)));
  const Placed placed = Place(brain->MakeView(), machine, {});
  if (placed.refusal) return absl::InternalError(placed.refusal->message());
  storage::v1::Job job;
  job.set_operation(storage::v1::PROTECT);
  job.set_subject(machine.machine_id());
  *job.mutable_wanted()->mutable_placement() = placed.placement;
  return brain->StartJob(std::move(job)).status();
}

absl::Status Run(uint64_t machines, uint64_t steps) {
  const RealClock clock;
  HW_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, Store::Open(""));
  Brain brain(clock, Settings(), std::move(store));
  for (uint64_t i = 0; i < machines; ++i)
    HW_RETURN_IF_ERROR(Register(&brain, types::v1::AGENT, MachineId(i)).status());
  HW_RETURN_IF_ERROR(StartAJob(&brain));
  std::vector<double> micros;
  for (uint64_t i = 0; i < steps; ++i) {
    const absl::Duration begun = clock.Monotonic();
    brain.Step();
    micros.push_back(absl::ToDoubleMicroseconds(clock.Monotonic() - begun));
  }
  std::nth_element(micros.begin(), micros.begin() + micros.size() / 2, micros.end());
  std::printf("{\"step_us\": %.3f}\n", micros[micros.size() / 2]);
  return absl::OkStatus();
}

}  // namespace
}  // namespace homeward

int main(int argc, char** argv) {
  uint64_t machines = 0, steps = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[1], &machines) || !absl::SimpleAtoi(argv[2], &steps) ||
      machines == 0 || steps == 0) {
    std::fprintf(stderr, "usage: homeward-bench-brain MACHINES STEPS\n");
    return 2;
  }
  const absl::Status ran = homeward::Run(machines, steps);
  if (!ran.ok()) std::fprintf(stderr, "%s\n", ran.ToString().c_str());
  return ran.ok() ? 0 : 1;
}
