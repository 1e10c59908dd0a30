// ControlService over gRPC: enrolment, renewal, and the sessions of all components.
#ifndef HOMEWARD_CONFIG_SERVER_SERVICES_CONTROL_SERVICE_H_
#define HOMEWARD_CONFIG_SERVER_SERVICES_CONTROL_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "common/clock/clock.h"
#include "common/exec/strand.h"
#include "config_server/jobs/brain.h"
#include "config_server/pki/registrar.h"
#include "homeward/control/v1/control.grpc.pb.h"

namespace homeward {

// Called from the network's threads; all else happens on `strand`. What it is given outlives it. A
// session has no thread of its own: there are thousands of them.
class ControlService : public control::v1::ControlService::WithCallbackMethod_Connect<
                           control::v1::ControlService::Service> {
 public:
  ControlService(const Clock* clock, Strand* strand, Brain* brain, Registrar* registrar)
      : clock_(*clock),
        strand_(*strand),
        brain_(*brain),
        registrar_(*registrar),
        config_server_id_(brain->store().Get<storage::v1::Meta>(Store::kOnly)->config_server_id()) {
  }

  grpc::Status Enrol(grpc::ServerContext* context, const control::v1::EnrolRequest* request,
                     control::v1::EnrolResponse* response) override;
  grpc::Status Renew(grpc::ServerContext* context, const control::v1::RenewRequest* request,
                     control::v1::EnrolResponse* response) override;
  grpc::ServerBidiReactor<control::v1::Up, control::v1::Down>* Connect(
      grpc::CallbackServerContext* context) override;

 private:
  class Session;

  // One step of the brain for all that is heard in a moment: its cost grows with the fleet, and so
  // does what is heard. On the strand, which it keeps busy for a tenth of the time at most.
  void StepSoon();
  // Those that ask in a moment are registered together: a sync of the store for each would be what
  // a fleet that comes back waits for. On the strand.
  void RegisterSoon(std::shared_ptr<Session> session);

  const Clock& clock_;
  Strand& strand_;
  Brain& brain_;
  Registrar& registrar_;
  const std::string config_server_id_;
  std::vector<std::shared_ptr<Session>> registering_;  // on the strand, as the next
  bool step_is_due_ = false;
  absl::Duration last_step_lasted_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_SERVICES_CONTROL_SERVICE_H_
