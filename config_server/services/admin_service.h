// AdminService over gRPC: says who asks, and hands the question to Operations.
#ifndef HOMEWARD_CONFIG_SERVER_SERVICES_ADMIN_SERVICE_H_
#define HOMEWARD_CONFIG_SERVER_SERVICES_ADMIN_SERVICE_H_

#include "config_server/operations/operations.h"
#include "homeward/admin/v1/admin.grpc.pb.h"

namespace homeward {

// Called from the network's threads. `operations` outlives it.
class AdminService : public admin::v1::AdminService::Service {
 public:
  explicit AdminService(Operations* operations) : operations_(*operations) {}

#define HOMEWARD_ADMIN_METHOD(Name, Request, Response)                               \
  grpc::Status Name(grpc::ServerContext* context, const admin::v1::Request* request, \
                    admin::v1::Response* response) override;
  HOMEWARD_ADMIN_METHOD(ListMachines, ListMachinesRequest, ListMachinesResponse)
  HOMEWARD_ADMIN_METHOD(GetMachine, GetMachineRequest, Machine)
  HOMEWARD_ADMIN_METHOD(AcceptMachine, AcceptMachineRequest, Machine)
  HOMEWARD_ADMIN_METHOD(IdentifyServer, IdentifyServerRequest, Server)
  HOMEWARD_ADMIN_METHOD(ListPoints, ListPointsRequest, ListPointsResponse)
  HOMEWARD_ADMIN_METHOD(ListServers, ListServersRequest, ListServersResponse)
  HOMEWARD_ADMIN_METHOD(GetServer, GetServerRequest, Server)
  HOMEWARD_ADMIN_METHOD(ListJobs, ListJobsRequest, ListJobsResponse)
  HOMEWARD_ADMIN_METHOD(GetJob, GetJobRequest, Job)
  HOMEWARD_ADMIN_METHOD(GetHealth, GetHealthRequest, Health)
  HOMEWARD_ADMIN_METHOD(ListRegistrations, ListRegistrationsRequest, ListRegistrationsResponse)
  HOMEWARD_ADMIN_METHOD(ListEvents, ListEventsRequest, ListEventsResponse)
  HOMEWARD_ADMIN_METHOD(ListAudit, ListAuditRequest, ListAuditResponse)
  HOMEWARD_ADMIN_METHOD(GetVersion, GetVersionRequest, Version)
  HOMEWARD_ADMIN_METHOD(Protect, ProtectRequest, Job)
  HOMEWARD_ADMIN_METHOD(Resync, ResyncRequest, Job)
  HOMEWARD_ADMIN_METHOD(Rekey, RekeyRequest, Job)
  HOMEWARD_ADMIN_METHOD(CreatePoint, CreatePointRequest, Job)
  HOMEWARD_ADMIN_METHOD(Failback, FailbackRequest, Job)
  HOMEWARD_ADMIN_METHOD(Commit, CommitRequest, Job)
  HOMEWARD_ADMIN_METHOD(Reprotect, ReprotectRequest, Job)
  HOMEWARD_ADMIN_METHOD(Remove, RemoveRequest, Job)
  HOMEWARD_ADMIN_METHOD(TestFailover, TestFailoverRequest, Job)
  HOMEWARD_ADMIN_METHOD(TestFailoverCleanup, TestFailoverCleanupRequest, Job)
  HOMEWARD_ADMIN_METHOD(CompleteMigration, CompleteMigrationRequest, Job)
  HOMEWARD_ADMIN_METHOD(SwitchProcessServer, SwitchProcessServerRequest, Job)
  HOMEWARD_ADMIN_METHOD(GetRepair, RepairRequest, RepairFindings)
  HOMEWARD_ADMIN_METHOD(Repair, RepairRequest, Job)
  HOMEWARD_ADMIN_METHOD(CancelJob, CancelJobRequest, Job)
  HOMEWARD_ADMIN_METHOD(ShowPassphrase, ShowPassphraseRequest, Enrolment)
  HOMEWARD_ADMIN_METHOD(RotatePassphrase, RotatePassphraseRequest, Enrolment)
  HOMEWARD_ADMIN_METHOD(ListBackups, ListBackupsRequest, ListBackupsResponse)
  HOMEWARD_ADMIN_METHOD(CreateBackup, CreateBackupRequest, Backup)
  HOMEWARD_ADMIN_METHOD(AddVcenter, AddVcenterRequest, Vcenter)
  HOMEWARD_ADMIN_METHOD(AddAzureSite, AddAzureSiteRequest, AzureSite)
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
  HOMEWARD_ADMIN_METHOD(ListVcenters, ListVcentersRequest, ListVcentersResponse)
  HOMEWARD_ADMIN_METHOD(RemoveVcenter, RemoveVcenterRequest, Vcenter)
  HOMEWARD_ADMIN_METHOD(RefreshVcenter, RefreshVcenterRequest, Vcenter)
  HOMEWARD_ADMIN_METHOD(GetInventory, GetInventoryRequest, Inventory)
#undef HOMEWARD_ADMIN_METHOD
  grpc::Status WatchJob(grpc::ServerContext* context, const admin::v1::GetJobRequest* request,
                        grpc::ServerWriter<admin::v1::Job>* writer) override;

 private:
  Operations& operations_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_SERVICES_ADMIN_SERVICE_H_
