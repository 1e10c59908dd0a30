// ControlService over gRPC: enrolment, renewal, and the sessions of all parts.
#ifndef HOMEWARD_CONFIG_SERVER_SERVICES_CONTROL_SERVICE_H_
#define HOMEWARD_CONFIG_SERVER_SERVICES_CONTROL_SERVICE_H_

#include "common/exec/strand.h"
#include "config_server/jobs/brain.h"
#include "config_server/pki/registrar.h"
#include "homeward/control/v1/control.grpc.pb.h"

namespace homeward {

// Called from the network's threads; all else happens on `strand`. All three outlive it.
class ControlService : public control::v1::ControlService::Service {
 public:
  ControlService(Strand* strand, Brain* brain, Registrar* registrar)
      : strand_(*strand), brain_(*brain), registrar_(*registrar) {}

  grpc::Status Enrol(grpc::ServerContext* context, const control::v1::EnrolRequest* request,
                     control::v1::EnrolResponse* response) override;
  grpc::Status Renew(grpc::ServerContext* context, const control::v1::RenewRequest* request,
                     control::v1::EnrolResponse* response) override;
  grpc::Status Connect(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<control::v1::Down, control::v1::Up>* stream) override;

 private:
  Strand& strand_;
  Brain& brain_;
  Registrar& registrar_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_SERVICES_CONTROL_SERVICE_H_
