// Registrar: the CA, the enrolment passphrase, and who gets a certificate.
#ifndef HOMEWARD_CONFIG_SERVER_PKI_REGISTRAR_H_
#define HOMEWARD_CONFIG_SERVER_PKI_REGISTRAR_H_

#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock/clock.h"
#include "common/control/enrolment.h"
#include "common/os/file_system.h"
#include "common/tls/identity.h"
#include "config_server/store/store.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

// Must run on one strand. `store` and `clock` outlive it.
class Registrar {
 public:
  // Makes the CA and the passphrase at the first start.
  static absl::StatusOr<std::unique_ptr<Registrar>> Open(Store* store, const Clock& clock,
                                                         absl::Duration validity);

  // ENROLMENT_REFUSED: wrong proof, or the host id is a component of another role.
  // RESOURCE_EXHAUSTED: more than kFailuresMax wrong proofs within a minute.
  static constexpr size_t kFailuresMax = 10;
  absl::StatusOr<control::v1::EnrolResponse> Enrol(const control::v1::EnrolRequest& request);
  absl::StatusOr<control::v1::EnrolResponse> Renew(Role role, const std::string& host_id,
                                                   const std::string& signing_request);

  EnrolmentFile enrolment() const;
  absl::Status RotatePassphrase();

  // An identity in files, new or, when two thirds of its time have passed, renewed; made anew when
  // a file of it changed by itself. For this server itself and for its operators.
  absl::StatusOr<IdentityFiles> KeepIdentity(FileSystem& files, const std::string& directory,
                                             Role role, const std::string& host_id);

 private:
  Registrar(Store* store, const Clock& clock, absl::Duration validity,
            CertificateAuthority authority, storage::v1::Authority record)
      : store_(*store),
        clock_(clock),
        validity_(validity),
        authority_(std::move(authority)),
        record_(std::move(record)) {}
  absl::StatusOr<control::v1::EnrolResponse> Sign(Role role, const std::string& host_id,
                                                  const std::string& signing_request);

  Store& store_;
  const Clock& clock_;
  const absl::Duration validity_;
  const CertificateAuthority authority_;
  storage::v1::Authority record_;
  std::deque<absl::Duration> failures_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_PKI_REGISTRAR_H_
