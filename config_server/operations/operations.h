// Operations: all that an operator can ask for, whatever carries the question: validated, with
// its defaults, answered with a job, an answer, or a problem. A transport makes a Caller of who
// asks, and calls Do().
#ifndef HOMEWARD_CONFIG_SERVER_OPERATIONS_OPERATIONS_H_
#define HOMEWARD_CONFIG_SERVER_OPERATIONS_OPERATIONS_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/exec/strand.h"
#include "common/tls/identity.h"
#include "config_server/backup/backups.h"
#include "config_server/inventory/azure_sites.h"
#include "config_server/inventory/vcenters.h"
#include "config_server/jobs/brain.h"
#include "config_server/pki/registrar.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {

// Who asks, as the transport has proved.
struct Caller {
  std::optional<Role> role;  // nothing: nobody that is known
  std::string id;            // of its certificate
  std::string address;
};

// Threads: Do() and the functions that take a Caller may be called from any; the others run on the
// strand. The strand and what is given to the constructor outlive it.
class Operations {
 public:
  // `backups` may be null: it was told to make none.
  Operations(Strand* strand, Brain* brain, Registrar* registrar, Vcenters* vcenters,
             AzureSites* sites, Backups* backups = nullptr)
      : strand_(*strand),
        brain_(*brain),
        registrar_(*registrar),
        vcenters_(*vcenters),
        sites_(*sites),
        backups_(backups) {}

  // Asks the operation, on the strand, once the caller was found to be allowed it. One that changes
  // something is audited: who asks for what is durable before it is done, and how it ended before
  // the caller hears of it.
  //   operations.Do(caller, &Operations::Protect, request, &job)
  // PERMISSION_DENIED; INVALID_ARGUMENT; what the operation says, with a problem where there is
  // one.
  template <typename Request, typename Response>
  absl::Status Do(const Caller& caller,
                  absl::Status (Operations::*operation)(const Request&, Response*),
                  const Request& request, Response* response) {
    return Ask(caller, [&] {
      const uint64_t asked = AuditAsked(caller, request);
      const absl::Status done = (this->*operation)(request, response);
      AuditEnded(asked, caller, request, *response, done);
      return done;
    });
  }
  template <typename Request, typename Response>
  absl::Status Do(const Caller& caller,
                  absl::Status (Operations::*operation)(const Request&, Response*) const,
                  const Request& request, Response* response) {
    return Ask(caller, [&] { return (this->*operation)(request, response); });
  }

  // --- what changes something
  absl::Status Protect(const admin::v1::ProtectRequest& request, admin::v1::Job* response);
  absl::Status Reprotect(const admin::v1::ReprotectRequest& request, admin::v1::Job* response);
  absl::Status Resync(const admin::v1::ResyncRequest& request, admin::v1::Job* response);
  absl::Status Rekey(const admin::v1::RekeyRequest& request, admin::v1::Job* response);
  absl::Status CreatePoint(const admin::v1::CreatePointRequest& request, admin::v1::Job* response);
  absl::Status Failback(const admin::v1::FailbackRequest& request, admin::v1::Job* response);
  absl::Status Commit(const admin::v1::CommitRequest& request, admin::v1::Job* response);
  absl::Status Remove(const admin::v1::RemoveRequest& request, admin::v1::Job* response);
  absl::Status TestFailover(const admin::v1::TestFailoverRequest& request,
                            admin::v1::Job* response);
  absl::Status TestFailoverCleanup(const admin::v1::TestFailoverCleanupRequest& request,
                                   admin::v1::Job* response);
  absl::Status CompleteMigration(const admin::v1::CompleteMigrationRequest& request,
                                 admin::v1::Job* response);
  absl::Status SwitchProcessServer(const admin::v1::SwitchProcessServerRequest& request,
                                   admin::v1::Job* response);
  absl::Status Repair(const admin::v1::RepairRequest& request, admin::v1::Job* response);
  absl::Status CancelJob(const admin::v1::CancelJobRequest& request, admin::v1::Job* response);
  absl::Status AcceptMachine(const admin::v1::AcceptMachineRequest& request,
                             admin::v1::Machine* response);
  absl::Status IdentifyServer(const admin::v1::IdentifyServerRequest& request,
                              admin::v1::Server* response);
  absl::Status RotatePassphrase(const admin::v1::RotatePassphraseRequest& request,
                                admin::v1::Enrolment* response);
  absl::Status RemoveVcenter(const admin::v1::RemoveVcenterRequest& request,
                             admin::v1::Vcenter* response);
  absl::Status RefreshVcenter(const admin::v1::RefreshVcenterRequest& request,
                              admin::v1::Vcenter* response);
  absl::Status RemoveAzureSite(const admin::v1::RemoveAzureSiteRequest& request,
                               admin::v1::AzureSite* response);
  absl::Status CreatePolicy(const admin::v1::CreatePolicyRequest& request,
                            admin::v1::NamedPolicy* response);
  absl::Status ChangePolicy(const admin::v1::ChangePolicyRequest& request,
                            admin::v1::NamedPolicy* response);
  absl::Status DeletePolicy(const admin::v1::DeletePolicyRequest& request,
                            admin::v1::NamedPolicy* response);
  absl::Status CreateGroup(const admin::v1::CreateGroupRequest& request,
                           admin::v1::ReplicationGroup* response);
  absl::Status ChangeGroup(const admin::v1::ChangeGroupRequest& request,
                           admin::v1::ReplicationGroup* response);
  absl::Status DeleteGroup(const admin::v1::DeleteGroupRequest& request,
                           admin::v1::ReplicationGroup* response);
  absl::Status CreateCommonPoint(const admin::v1::CreateCommonPointRequest& request,
                                 admin::v1::ReplicationGroup* response);
  absl::Status ApplyPlan(const admin::v1::ApplyPlanRequest& request,
                         admin::v1::RecoveryPlan* response);
  absl::Status DeletePlan(const admin::v1::DeletePlanRequest& request,
                          admin::v1::RecoveryPlan* response);
  absl::Status RunPlan(const admin::v1::RunPlanRequest& request, admin::v1::Job* response);
  absl::Status AnswerPlan(const admin::v1::AnswerPlanRequest& request, admin::v1::Job* response);
  absl::Status SetPolicy(const admin::v1::SetPolicyRequest& request, admin::v1::Machine* response);

  // --- what does not
  absl::Status ListMachines(const admin::v1::ListMachinesRequest& request,
                            admin::v1::ListMachinesResponse* response) const;
  absl::Status GetMachine(const admin::v1::GetMachineRequest& request,
                          admin::v1::Machine* response) const;
  absl::Status ListPoints(const admin::v1::ListPointsRequest& request,
                          admin::v1::ListPointsResponse* response) const;
  absl::Status ListServers(const admin::v1::ListServersRequest& request,
                           admin::v1::ListServersResponse* response) const;
  absl::Status GetServer(const admin::v1::GetServerRequest& request,
                         admin::v1::Server* response) const;
  absl::Status ListJobs(const admin::v1::ListJobsRequest& request,
                        admin::v1::ListJobsResponse* response) const;
  absl::Status GetJob(const admin::v1::GetJobRequest& request, admin::v1::Job* response) const;
  absl::Status GetRepair(const admin::v1::RepairRequest& request,
                         admin::v1::RepairFindings* response) const;
  absl::Status GetHealth(const admin::v1::GetHealthRequest& request,
                         admin::v1::Health* response) const;
  absl::Status ListRegistrations(const admin::v1::ListRegistrationsRequest& request,
                                 admin::v1::ListRegistrationsResponse* response) const;
  absl::Status ListEvents(const admin::v1::ListEventsRequest& request,
                          admin::v1::ListEventsResponse* response) const;
  absl::Status GetVersion(const admin::v1::GetVersionRequest& request,
                          admin::v1::Version* response) const;
  absl::Status ShowPassphrase(const admin::v1::ShowPassphraseRequest& request,
                              admin::v1::Enrolment* response) const;
  absl::Status ListVcenters(const admin::v1::ListVcentersRequest& request,
                            admin::v1::ListVcentersResponse* response) const;
  absl::Status ListAzureSites(const admin::v1::ListAzureSitesRequest& request,
                              admin::v1::ListAzureSitesResponse* response) const;
  absl::Status ListPolicies(const admin::v1::ListPoliciesRequest& request,
                            admin::v1::ListPoliciesResponse* response) const;
  absl::Status ListGroups(const admin::v1::ListGroupsRequest& request,
                          admin::v1::ListGroupsResponse* response) const;
  absl::Status GetGroup(const admin::v1::GetGroupRequest& request,
                        admin::v1::ReplicationGroup* response) const;
  absl::Status ListPlans(const admin::v1::ListPlansRequest& request,
                         admin::v1::ListPlansResponse* response) const;
  absl::Status GetPlan(const admin::v1::GetPlanRequest& request,
                       admin::v1::RecoveryPlan* response) const;
  absl::Status CheckPlan(const admin::v1::CheckPlanRequest& request,
                         admin::v1::CheckPlanResponse* response) const;
  absl::Status GetPolicy(const admin::v1::GetPolicyRequest& request,
                         admin::v1::NamedPolicy* response) const;
  absl::Status ListAudit(const admin::v1::ListAuditRequest& request,
                         admin::v1::ListAuditResponse* response) const;

  // --- what takes as long as somebody else does
  // Adds the vCenter when it has answered.
  absl::Status AddVcenter(const Caller& caller, const admin::v1::AddVcenterRequest& request,
                          admin::v1::Vcenter* response);
  // Adds the site when Azure has answered, and has all that it names.
  absl::Status AddAzureSite(const Caller& caller, const admin::v1::AddAzureSiteRequest& request,
                            admin::v1::AzureSite* response);
  absl::Status ListBackups(const Caller& caller, const admin::v1::ListBackupsRequest& request,
                           admin::v1::ListBackupsResponse* response);
  absl::Status CreateBackup(const Caller& caller, const admin::v1::CreateBackupRequest& request,
                            admin::v1::Backup* response);
  absl::Status GetInventory(const Caller& caller, const admin::v1::GetInventoryRequest& request,
                            admin::v1::Inventory* response);
  // Calls `show` with the job whenever it has changed, until it has ended, `show` returns false or
  // `gone` returns true. CANCELLED then; UNAVAILABLE when the server stops.
  absl::Status WatchJob(const Caller& caller, const admin::v1::GetJobRequest& request,
                        const std::function<bool(const admin::v1::Job&)>& show,
                        const std::function<bool()>& gone);

  // From the strand, whenever something may have changed: wakes who watches a job.
  void Changed();
  // Calls that wait return.
  void Stop();

 private:
  absl::Status Ask(const Caller& caller, const std::function<absl::Status()>& ask);
  // Returns the entry's number.
  uint64_t AuditAsked(const Caller& caller, const google::protobuf::Message& request);
  // Entry and event are of the machine that the response names, and of the job that it is.
  void AuditEnded(uint64_t asked, const Caller& caller, const google::protobuf::Message& request,
                  const google::protobuf::Message& response, const absl::Status& done);
  // As Do(), of what is not done on the strand.
  absl::Status DoOutside(const Caller& caller, const google::protobuf::Message& request,
                         const google::protobuf::Message& response,
                         const std::function<absl::Status()>& act);
  absl::Status StartJob(storage::v1::Operation operation, const std::string& machine,
                        storage::v1::Job job, admin::v1::Job* response,
                        const std::string& chosen_vm = "");

  Strand& strand_;
  Brain& brain_;
  Registrar& registrar_;
  Vcenters& vcenters_;
  AzureSites& sites_;
  Backups* const backups_;
  absl::Mutex mutex_;
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_OPERATIONS_OPERATIONS_H_
