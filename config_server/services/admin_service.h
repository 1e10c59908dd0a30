// AdminService over gRPC: what operators ask. Validates, asks the brain, converts.
#ifndef HOMEWARD_CONFIG_SERVER_SERVICES_ADMIN_SERVICE_H_
#define HOMEWARD_CONFIG_SERVER_SERVICES_ADMIN_SERVICE_H_

#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/exec/strand.h"
#include "config_server/inventory/vcenters.h"
#include "config_server/jobs/brain.h"
#include "config_server/pki/registrar.h"
#include "homeward/admin/v1/admin.grpc.pb.h"

namespace homeward {

// Called from the network's threads; all else happens on `strand`. All four outlive it.
class AdminService : public admin::v1::AdminService::Service {
 public:
  AdminService(Strand* strand, Brain* brain, Registrar* registrar, Vcenters* vcenters)
      : strand_(*strand), brain_(*brain), registrar_(*registrar), vcenters_(*vcenters) {}
  // From the strand, whenever something may have changed: wakes who watches a job.
  void Changed();
  // Calls that wait return.
  void Stop();

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
  HOMEWARD_ADMIN_METHOD(ListEvents, ListEventsRequest, ListEventsResponse)
  HOMEWARD_ADMIN_METHOD(GetVersion, GetVersionRequest, Version)
  HOMEWARD_ADMIN_METHOD(Protect, ProtectRequest, Job)
  HOMEWARD_ADMIN_METHOD(Resync, ResyncRequest, Job)
  HOMEWARD_ADMIN_METHOD(CreatePoint, CreatePointRequest, Job)
  HOMEWARD_ADMIN_METHOD(Failback, FailbackRequest, Job)
  HOMEWARD_ADMIN_METHOD(Commit, CommitRequest, Job)
  HOMEWARD_ADMIN_METHOD(Reprotect, ReprotectRequest, Job)
  HOMEWARD_ADMIN_METHOD(Remove, RemoveRequest, Job)
  HOMEWARD_ADMIN_METHOD(GetRepair, RepairRequest, RepairFindings)
  HOMEWARD_ADMIN_METHOD(Repair, RepairRequest, Job)
  HOMEWARD_ADMIN_METHOD(CancelJob, CancelJobRequest, Job)
  HOMEWARD_ADMIN_METHOD(ShowPassphrase, ShowPassphraseRequest, Enrolment)
  HOMEWARD_ADMIN_METHOD(RotatePassphrase, RotatePassphraseRequest, Enrolment)
  HOMEWARD_ADMIN_METHOD(AddVcenter, AddVcenterRequest, Vcenter)
  HOMEWARD_ADMIN_METHOD(ListVcenters, ListVcentersRequest, ListVcentersResponse)
  HOMEWARD_ADMIN_METHOD(RemoveVcenter, RemoveVcenterRequest, Vcenter)
  HOMEWARD_ADMIN_METHOD(RefreshVcenter, RefreshVcenterRequest, Vcenter)
  HOMEWARD_ADMIN_METHOD(GetInventory, GetInventoryRequest, Inventory)
#undef HOMEWARD_ADMIN_METHOD
  grpc::Status WatchJob(grpc::ServerContext* context, const admin::v1::GetJobRequest* request,
                        grpc::ServerWriter<admin::v1::Job>* writer) override;

 private:
  // Checks the caller and runs `ask` on the strand.
  grpc::Status Ask(grpc::ServerContext* context, const std::function<absl::Status()>& ask);
  absl::Status StartSimple(storage::v1::Operation operation, const std::string& machine,
                           storage::v1::Job job, admin::v1::Job* response,
                           const std::string& chosen_vm = "");

  Strand& strand_;
  Brain& brain_;
  Registrar& registrar_;
  Vcenters& vcenters_;
  absl::Mutex mutex_;
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_SERVICES_ADMIN_SERVICE_H_
