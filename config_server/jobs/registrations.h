// Registrations: which components there are, and which copy of a machine is the machine.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_REGISTRATIONS_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_REGISTRATIONS_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "config_server/fleet/fleet.h"
#include "config_server/model/view.h"
#include "config_server/store/records.h"

namespace homeward {

// Must run on one strand.
class Registrations {
 public:
  // All outlive it. `view`: of now.
  Registrations(const Clock& clock, Records* records, Fleet* fleet, std::function<View()> view)
      : clock_(clock), records_(*records), fleet_(*fleet), view_(std::move(view)) {}

  // A component opened a session. FAILED_PRECONDITION with a problem: this copy of the machine is
  // over, or another copy is the machine. UNAVAILABLE: that is not known yet, come again.
  absl::StatusOr<uint64_t> Register(const control::v1::Registration& registration,
                                    Fleet::Session session);
  // A copy that is refused is the machine from now on. `wish`: its hardware UUID or boot id; empty
  // where there is only one. FAILED_PRECONDITION with a problem.
  absl::StatusOr<storage::v1::Machine> AcceptCopy(storage::v1::Machine machine,
                                                  const std::string& wish);
  // Which VM a master target is, as an operator says by reference or path; kept when it registers
  // again. Empty: nobody says. FAILED_PRECONDITION with a problem.
  absl::StatusOr<storage::v1::Server> Identify(storage::v1::Server server, const std::string& vm);

 private:
  uint64_t RegisterServer(const control::v1::Registration& registration, Fleet::Session session);
  // Whether `copy` may have the machine's session; then the record says so, and is to be stored.
  absl::Status Admit(const control::v1::Registration& registration,
                     const storage::v1::Incarnation& copy, storage::v1::Machine* machine);
  // A copy that was left behind when its machine moved is over: FAILED_PRECONDITION with a problem,
  // an event, and an error of the machine's health as long as it asks.
  absl::Status CheckLeftBehind(const control::v1::Registration& registration,
                               const storage::v1::Incarnation& copy, storage::v1::Machine machine);

  const Clock& clock_;
  Records& records_;
  Fleet& fleet_;
  const std::function<View()> view_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_REGISTRATIONS_H_
