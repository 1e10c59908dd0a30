#include "config_server/jobs/brain.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "config_server/model/placement.h"
#include "config_server/model/plans.h"

namespace homeward {

using storage::v1::Job;
using storage::v1::Machine;

Brain::Brain(const Clock& clock, Settings settings, std::unique_ptr<Store> store,
             Hypervisor* hypervisor, Cloud* cloud, ScriptRunner* scripts)
    : clock_(clock),
      settings_(settings),
      hypervisor_(hypervisor),
      cloud_(cloud),
      locations_(hypervisor, cloud),
      sources_(hypervisor, cloud),
      fleet_(clock, settings.heartbeat_timeout, settings.heartbeat_interval),
      records_(clock, std::move(store)),
      audit_(clock, &records_),
      policies_(clock, settings.rpo_threshold, &records_),
      groups_(clock, &records_, &policies_),
      plans_(clock, &records_, &policies_),
      common_points_(clock, &records_, &groups_, [this] { return MakeView(); }),
      registrations_(clock, &records_, &fleet_, [this] { return MakeView(); }),
      jobs_(
          clock, &records_,
          {[this] { return MakeView(); },
           [this](storage::v1::Location location) -> Location& { return locations_.At(location); },
           [this](storage::v1::Source source) -> Source& { return sources_.At(source); },
           [this](const std::string& machine_id) { return fleet_.state().connected(machine_id); },
           scripts}),
      desired_(&records_, &fleet_, &common_points_) {}

View Brain::MakeView() const {
  return {fleet_.state(),
          clock_,
          settings_,
          records_.servers(),
          records_.machines(),
          hypervisor_ == nullptr ? std::map<std::string, VcenterState>() : hypervisor_->States(),
          cloud_ == nullptr ? std::map<std::string, CloudState>() : cloud_->States()};
}

void Brain::WatchHomes(const Records::Changes& changes) {
  if (cloud_ == nullptr) return;
  for (const std::string& machine_id : changes.machines) {
    const Machine* const machine = records_.FindMachine(machine_id);
    const bool lives_there = machine != nullptr && machine->has_azure_vm();
    cloud_->Watch(machine_id, lives_there ? std::optional(machine->azure_vm()) : std::nullopt);
  }
}

absl::StatusOr<Machine> Brain::AcceptCopy(const std::string& id_or_name, const std::string& wish) {
  HW_ASSIGN_OR_RETURN(Machine machine, FindMachine(id_or_name));
  return registrations_.AcceptCopy(std::move(machine), wish);
}

absl::StatusOr<storage::v1::Server> Brain::IdentifyServer(const std::string& id_or_name,
                                                          const std::string& vm) {
  const View::MeantServer meant = MakeView().ServerCalled(id_or_name, {types::v1::MASTER_TARGET});
  if (meant.refusal) return ToStatus(*meant.refusal, meant.code);
  return registrations_.Identify(*meant.server, vm);
}

absl::StatusOr<Machine> Brain::FindMachine(const std::string& id_or_name) const {
  const View::MeantMachine meant = MakeView().MachineCalled(id_or_name);
  if (meant.refusal) return ToStatus(*meant.refusal, meant.code);
  return *meant.machine;
}

absl::StatusOr<Job> Brain::FindJob(const std::string& job_id) const {
  const std::optional<Job> job = records_.store().Get<Job>(job_id);
  if (job.has_value()) return *job;
  return ToStatus(
      MakeProblem(ProblemId::kJobNotInDatabase, absl::StrCat("there is no job \"", job_id, "\"")),
      absl::StatusCode::kNotFound);
}

absl::StatusOr<Job> Brain::StartJob(Job job, const std::string& chosen_vm) {
  HW_ASSIGN_OR_RETURN(const Machine machine, FindMachine(job.subject()));
  job.set_subject(machine.machine_id());
  HW_ASSIGN_OR_RETURN(job, jobs_.Start(std::move(job), chosen_vm));
  Step();
  return FindJob(job.id());
}

absl::StatusOr<Job> Brain::StartForEach(Job each, const std::vector<std::string>& machine_ids) {
  const Job job = jobs_.StartForEach(std::move(each), machine_ids);
  Step();
  return FindJob(job.id());
}

absl::StatusOr<Job> Brain::RunPlan(const std::string& name, const Plans::Wish& wish) {
  HW_ASSIGN_OR_RETURN(const storage::v1::RecoveryPlan plan, plans_.Find(name));
  Plans::Prepared prepared = plans_.Prepare(MakeView(), plan, wish);
  if (!prepared.refusals.empty()) return Refused(Joined(prepared.refusals));
  const Job job = jobs_.StartPlan(std::move(prepared.job));
  Step();
  return FindJob(job.id());
}

absl::StatusOr<Job> Brain::AnswerPlan(const std::string& name, storage::v1::PlanAnswer answer) {
  HW_RETURN_IF_ERROR(plans_.Find(name).status());
  const std::optional<Job> run = plans_.RunOf(name);
  if (!run.has_value()) {
    return Refused(
        MakeProblem(ProblemId::kPlanNotWaiting, absl::StrCat("plan ", name, " is not being run")));
  }
  HW_RETURN_IF_ERROR(jobs_.AnswerPlan(*run, answer));
  Step();
  return FindJob(run->id());
}

absl::StatusOr<Job> Brain::CancelJob(const std::string& job_id) {
  HW_ASSIGN_OR_RETURN(Job job, FindJob(job_id));
  HW_RETURN_IF_ERROR(jobs_.Cancel(std::move(job)));
  Step();
  return FindJob(job_id);
}

absl::StatusOr<std::string> Brain::BeginCommonPoint(const std::string& group,
                                                    types::v1::PointKind kind) {
  HW_ASSIGN_OR_RETURN(std::string point_id, common_points_.Begin(group, kind));
  Step();
  return point_id;
}

void Brain::Step() {
  if (stepping_) return;
  stepping_ = true;
  jobs_.Step();
  Records::Changes changes = records_.TakeChanges();
  changes.machines.merge(common_points_.Step());
  if (!changes.empty()) {
    desired_.Update(changes);
    WatchHomes(changes);
  }
  fleet_.Tell();
  stepping_ = false;
}

}  // namespace homeward
