// What of Operations is about sites in Azure, and about machines there, or on their way there,
// beyond the circle.
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/model/location_rules.h"
#include "config_server/model/points.h"
#include "config_server/model/rules.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

const char* WordOf(CloudState::Link link) {
  switch (link) {
    case CloudState::Link::kConnected:
      return "Connected";
    case CloudState::Link::kStale:
      return "Stale";
    case CloudState::Link::kDisconnected:
      break;
  }
  return "Disconnected";
}

// What is replicated to it, lives there or is tested there.
std::vector<std::string> MachinesOf(const std::string& site, const Records& records) {
  std::vector<std::string> names;
  for (const storage::v1::Machine& machine : records.machines()) {
    // One that stays there for good needs nothing of Homeward any more.
    const bool stays = machine.migrated() || machine.state() == storage::v1::UNPROTECTED;
    if (machine.assignment().placement().azure_vm().site() == site ||
        (machine.azure_vm().site() == site && !stays) || machine.test().azure_vm().site() == site)
      names.push_back(machine.registration().name());
  }
  return names;
}

admin::v1::AzureSite Convert(const storage::v1::AzureSite& record,
                             const std::map<std::string, CloudState>& states,
                             const Records& records) {
  admin::v1::AzureSite out;
  out.set_name(record.name());
  out.set_subscription(record.subscription());
  out.set_resource_group(record.resource_group());
  out.set_region(record.region());
  out.set_subnet(record.subnet());
  out.set_test_subnet(record.test_subnet());
  *out.mutable_containers() = record.containers();
  out.set_default_size(record.default_size());
  out.set_machine_count(static_cast<uint32_t>(MachinesOf(record.name(), records).size()));
  const auto it = states.find(record.name());
  if (it == states.end()) return out;
  out.set_state(WordOf(it->second.link));
  *out.mutable_since() = ToProto(it->second.since);
  if (!it->second.error.ok()) out.set_error(std::string(it->second.error.message()));
  return out;
}

storage::v1::AzureSite RecordOf(const admin::v1::AddAzureSiteRequest& request) {
  storage::v1::AzureSite site;
  site.set_name(request.name());
  site.set_subscription(request.subscription());
  site.set_tenant(request.tenant());
  site.set_resource_group(request.resource_group());
  site.set_region(request.region());
  site.set_endpoint(request.endpoint());
  site.set_authority(request.authority());
  site.set_trusted(request.trusted());
  site.set_client_id(request.client_id());
  site.set_subnet(request.subnet());
  site.set_test_subnet(request.test_subnet());
  site.set_default_size(request.default_size());
  // As process servers call them.
  for (const std::string& container : request.containers())
    site.add_containers(std::string(absl::StripSuffix(container, "/")));
  site.set_storage_account(request.storage_account());
  return site;
}

}  // namespace

absl::Status Operations::AddAzureSite(const Caller& caller,
                                      const admin::v1::AddAzureSiteRequest& request,
                                      admin::v1::AzureSite* response) {
  const storage::v1::AzureSite site = RecordOf(request);
  const std::string& secret = request.client_secret();
  return DoOutside(caller, request, *response, [&]() -> absl::Status {
    HW_RETURN_IF_ERROR(Ask(caller, [&] { return sites_.MayAdd(site, secret); }));
    // Not on the strand: it takes as long as Azure does.
    HW_ASSIGN_OR_RETURN(const std::shared_ptr<AzureAccess> access, sites_.AccessTo(site, secret));
    HW_ASSIGN_OR_RETURN(const CloudState::Sizes sizes, ProbeAzureSite(*access));
    return Ask(caller, [&]() -> absl::Status {
      HW_ASSIGN_OR_RETURN(const storage::v1::AzureSite added, sites_.Add(site, secret, sizes));
      *response = Convert(added, sites_.followers().States(), brain_.records());
      return absl::OkStatus();
    });
  });
}

absl::Status Operations::ListAzureSites(const admin::v1::ListAzureSitesRequest&,
                                        admin::v1::ListAzureSitesResponse* response) const {
  const std::map<std::string, CloudState> states = sites_.followers().States();
  for (const storage::v1::AzureSite& site : sites_.All())
    *response->add_sites() = Convert(site, states, brain_.records());
  return absl::OkStatus();
}

absl::Status Operations::RemoveAzureSite(const admin::v1::RemoveAzureSiteRequest& request,
                                         admin::v1::AzureSite* response) {
  HW_RETURN_IF_ERROR(sites_.Find(request.name()).status());
  const std::vector<std::string> machines = MachinesOf(request.name(), brain_.records());
  if (!machines.empty()) {
    return Refused(MakeProblem(
        ProblemId::kAzureSiteInUse,
        absl::StrCat("site ", request.name(), " is needed by ", absl::StrJoin(machines, ", "))));
  }
  HW_ASSIGN_OR_RETURN(const storage::v1::AzureSite site, sites_.Remove(request.name()));
  *response = Convert(site, {}, brain_.records());
  return absl::OkStatus();
}

absl::Status Operations::TestFailover(const admin::v1::TestFailoverRequest& request,
                                      admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  const View view = brain_.MakeView();
  if (Refusal refusal = CheckOperation(view, machine, storage::v1::TEST_FAILOVER))
    return Refused(*refusal);
  if (Refusal refusal = RulesOf(machine).CheckTest(view, machine, request.subnet()))
    return Refused(*refusal);
  const control::v1::ReplicaObserved& replica = *view.ReplicaOf(machine);
  const ChosenPoint chosen = ChoosePoint({replica.points().begin(), replica.points().end()},
                                         request.point(), request.accept_not_one_instant());
  if (chosen.refusal) return Refused(*chosen.refusal);
  storage::v1::Job job;
  job.set_point(chosen.point.id());
  job.set_accept_not_one_instant(request.accept_not_one_instant());
  const std::string& site = machine.assignment().placement().azure_vm().site();
  job.set_test_subnet(request.subnet().empty() ? view.clouds.at(site).site.test_subnet()
                                               : request.subnet());
  return StartJob(storage::v1::TEST_FAILOVER, machine.machine_id(), std::move(job), response);
}

absl::Status Operations::TestFailoverCleanup(const admin::v1::TestFailoverCleanupRequest& request,
                                             admin::v1::Job* response) {
  return StartJob(storage::v1::TEST_CLEANUP, request.machine(), {}, response);
}

absl::Status Operations::CompleteMigration(const admin::v1::CompleteMigrationRequest& request,
                                           admin::v1::Job* response) {
  HW_ASSIGN_OR_RETURN(const storage::v1::Machine machine, brain_.FindMachine(request.machine()));
  if (Refusal refusal = CheckOperation(brain_.MakeView(), machine, storage::v1::COMPLETE_MIGRATION))
    return Refused(*refusal);
  if (!request.confirmed()) {
    return Refused(
        MakeProblem(ProblemId::kMigrationNotConfirmed,
                    absl::StrCat(machine.registration().name(), " would stay in Azure as ",
                                 machine.azure_vm().name(), " and could never be failed back")));
  }
  return StartJob(storage::v1::COMPLETE_MIGRATION, machine.machine_id(), {}, response);
}

}  // namespace homeward
