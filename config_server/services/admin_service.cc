#include "config_server/services/admin_service.h"

#include "common/rpc/credentials.h"

namespace homeward {
namespace {

using grpc::ServerContext;
using grpc::Status;

Caller CallerOf(const ServerContext& context) {
  Caller caller;
  caller.address = context.peer();
  for (const Role role : {Role::kOperator, Role::kAgent, Role::kProcessServer, Role::kMasterTarget,
                          Role::kConfigServer}) {
    const absl::StatusOr<std::string> id = Authorize(context, {role});
    if (!id.ok()) continue;
    caller.role = role;
    caller.id = *id;
    break;
  }
  return caller;
}

}  // namespace

#define HOMEWARD_ADMIN_METHOD(Name, Request, Response)                                        \
  Status AdminService::Name(ServerContext* context, const admin::v1::Request* request,        \
                            admin::v1::Response* response) {                                  \
    return ToGrpc(operations_.Do(CallerOf(*context), &Operations::Name, *request, response)); \
  }
HOMEWARD_ADMIN_METHOD(Protect, ProtectRequest, Job)
HOMEWARD_ADMIN_METHOD(Reprotect, ReprotectRequest, Job)
HOMEWARD_ADMIN_METHOD(Resync, ResyncRequest, Job)
HOMEWARD_ADMIN_METHOD(Rekey, RekeyRequest, Job)
HOMEWARD_ADMIN_METHOD(CreatePoint, CreatePointRequest, Job)
HOMEWARD_ADMIN_METHOD(Failback, FailbackRequest, Job)
HOMEWARD_ADMIN_METHOD(Commit, CommitRequest, Job)
HOMEWARD_ADMIN_METHOD(Remove, RemoveRequest, Job)
HOMEWARD_ADMIN_METHOD(TestFailover, TestFailoverRequest, Job)
HOMEWARD_ADMIN_METHOD(TestFailoverCleanup, TestFailoverCleanupRequest, Job)
HOMEWARD_ADMIN_METHOD(CompleteMigration, CompleteMigrationRequest, Job)
HOMEWARD_ADMIN_METHOD(SwitchProcessServer, SwitchProcessServerRequest, Job)
HOMEWARD_ADMIN_METHOD(Repair, RepairRequest, Job)
HOMEWARD_ADMIN_METHOD(CancelJob, CancelJobRequest, Job)
HOMEWARD_ADMIN_METHOD(AcceptMachine, AcceptMachineRequest, Machine)
HOMEWARD_ADMIN_METHOD(IdentifyServer, IdentifyServerRequest, Server)
HOMEWARD_ADMIN_METHOD(RotatePassphrase, RotatePassphraseRequest, Enrolment)
HOMEWARD_ADMIN_METHOD(RemoveVcenter, RemoveVcenterRequest, Vcenter)
HOMEWARD_ADMIN_METHOD(RefreshVcenter, RefreshVcenterRequest, Vcenter)
HOMEWARD_ADMIN_METHOD(ListMachines, ListMachinesRequest, ListMachinesResponse)
HOMEWARD_ADMIN_METHOD(GetMachine, GetMachineRequest, Machine)
HOMEWARD_ADMIN_METHOD(ListPoints, ListPointsRequest, ListPointsResponse)
HOMEWARD_ADMIN_METHOD(ListServers, ListServersRequest, ListServersResponse)
HOMEWARD_ADMIN_METHOD(GetServer, GetServerRequest, Server)
HOMEWARD_ADMIN_METHOD(ListJobs, ListJobsRequest, ListJobsResponse)
HOMEWARD_ADMIN_METHOD(GetJob, GetJobRequest, Job)
HOMEWARD_ADMIN_METHOD(GetRepair, RepairRequest, RepairFindings)
HOMEWARD_ADMIN_METHOD(GetHealth, GetHealthRequest, Health)
HOMEWARD_ADMIN_METHOD(ListRegistrations, ListRegistrationsRequest, ListRegistrationsResponse)
HOMEWARD_ADMIN_METHOD(ListEvents, ListEventsRequest, ListEventsResponse)
HOMEWARD_ADMIN_METHOD(ListAudit, ListAuditRequest, ListAuditResponse)
HOMEWARD_ADMIN_METHOD(GetVersion, GetVersionRequest, Version)
HOMEWARD_ADMIN_METHOD(ShowPassphrase, ShowPassphraseRequest, Enrolment)
HOMEWARD_ADMIN_METHOD(ListVcenters, ListVcentersRequest, ListVcentersResponse)
HOMEWARD_ADMIN_METHOD(ListAzureSites, ListAzureSitesRequest, ListAzureSitesResponse)
HOMEWARD_ADMIN_METHOD(RemoveAzureSite, RemoveAzureSiteRequest, AzureSite)
HOMEWARD_ADMIN_METHOD(ListPolicies, ListPoliciesRequest, ListPoliciesResponse)
HOMEWARD_ADMIN_METHOD(GetPolicy, GetPolicyRequest, NamedPolicy)
HOMEWARD_ADMIN_METHOD(CreatePolicy, CreatePolicyRequest, NamedPolicy)
HOMEWARD_ADMIN_METHOD(ChangePolicy, ChangePolicyRequest, NamedPolicy)
HOMEWARD_ADMIN_METHOD(DeletePolicy, DeletePolicyRequest, NamedPolicy)
HOMEWARD_ADMIN_METHOD(SetPolicy, SetPolicyRequest, Machine)
HOMEWARD_ADMIN_METHOD(ListGroups, ListGroupsRequest, ListGroupsResponse)
HOMEWARD_ADMIN_METHOD(GetGroup, GetGroupRequest, ReplicationGroup)
HOMEWARD_ADMIN_METHOD(CreateGroup, CreateGroupRequest, ReplicationGroup)
HOMEWARD_ADMIN_METHOD(ChangeGroup, ChangeGroupRequest, ReplicationGroup)
HOMEWARD_ADMIN_METHOD(DeleteGroup, DeleteGroupRequest, ReplicationGroup)
HOMEWARD_ADMIN_METHOD(CreateCommonPoint, CreateCommonPointRequest, ReplicationGroup)
HOMEWARD_ADMIN_METHOD(ApplyPlan, ApplyPlanRequest, RecoveryPlan)
HOMEWARD_ADMIN_METHOD(DeletePlan, DeletePlanRequest, RecoveryPlan)
HOMEWARD_ADMIN_METHOD(RunPlan, RunPlanRequest, Job)
HOMEWARD_ADMIN_METHOD(AnswerPlan, AnswerPlanRequest, Job)
HOMEWARD_ADMIN_METHOD(ListPlans, ListPlansRequest, ListPlansResponse)
HOMEWARD_ADMIN_METHOD(GetPlan, GetPlanRequest, RecoveryPlan)
HOMEWARD_ADMIN_METHOD(CheckPlan, CheckPlanRequest, CheckPlanResponse)
#undef HOMEWARD_ADMIN_METHOD

Status AdminService::ListBackups(ServerContext* context,
                                 const admin::v1::ListBackupsRequest* request,
                                 admin::v1::ListBackupsResponse* response) {
  return ToGrpc(operations_.ListBackups(CallerOf(*context), *request, response));
}

Status AdminService::CreateBackup(ServerContext* context,
                                  const admin::v1::CreateBackupRequest* request,
                                  admin::v1::Backup* response) {
  return ToGrpc(operations_.CreateBackup(CallerOf(*context), *request, response));
}

Status AdminService::AddVcenter(ServerContext* context, const admin::v1::AddVcenterRequest* request,
                                admin::v1::Vcenter* response) {
  return ToGrpc(operations_.AddVcenter(CallerOf(*context), *request, response));
}

Status AdminService::AddAzureSite(ServerContext* context,
                                  const admin::v1::AddAzureSiteRequest* request,
                                  admin::v1::AzureSite* response) {
  return ToGrpc(operations_.AddAzureSite(CallerOf(*context), *request, response));
}

Status AdminService::GetInventory(ServerContext* context,
                                  const admin::v1::GetInventoryRequest* request,
                                  admin::v1::Inventory* response) {
  return ToGrpc(operations_.GetInventory(CallerOf(*context), *request, response));
}

Status AdminService::WatchJob(ServerContext* context, const admin::v1::GetJobRequest* request,
                              grpc::ServerWriter<admin::v1::Job>* writer) {
  return ToGrpc(operations_.WatchJob(
      CallerOf(*context), *request,
      [writer](const admin::v1::Job& job) { return writer->Write(job); },
      [context] { return context->IsCancelled(); }));
}

}  // namespace homeward
