// Enrolment: how a component becomes one of a configuration server's. docs/security.md has the
// protocol.
#ifndef HOMEWARD_COMMON_CONTROL_ENROLMENT_H_
#define HOMEWARD_COMMON_CONTROL_ENROLMENT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/os/file_system.h"
#include "common/rpc/credentials.h"
#include "homeward/config/v1/config.pb.h"
#include "homeward/control/v1/control.pb.h"
#include "homeward/types/v1/types.pb.h"

namespace homeward {

// What `homeward enrol passphrase show` prints and a new component is given.
struct EnrolmentFile {
  std::string passphrase;
  std::string ca;  // PEM
};
std::string FormatEnrolmentFile(const EnrolmentFile& enrolment);
absl::StatusOr<EnrolmentFile> ParseEnrolmentFile(const std::string& text);

// Shows knowledge of the passphrase for exactly this request.
std::string EnrolmentProof(absl::string_view passphrase, types::v1::ServerRole role,
                           absl::string_view host_id, absl::string_view signing_request);
Role RoleOf(types::v1::ServerRole role);

// A component's host id, and its identity in files under its state directory.
struct Membership {
  std::string host_id;
  IdentityFiles files;
};
struct JoinOptions {
  types::v1::ServerRole role = types::v1::SERVER_ROLE_UNSPECIFIED;
  std::string state_directory;
  config::v1::Join join;
};

// The membership of earlier, or a new one: makes a host id and a key, which never leaves the host,
// and has the key signed. Waits, with a growing delay, while the configuration server cannot be
// reached. CANCELLED when `stopping` was notified meanwhile; PERMISSION_DENIED and INVALID_ARGUMENT
// need an operator.
absl::StatusOr<Membership> JoinFabric(FileSystem& files, const JoinOptions& options,
                                      const absl::Notification& stopping);

// Renames identity and stream state, so that the next JoinFabric() makes a new host id and key, and
// nothing is gone. Returns what was renamed, a line each. NOT_FOUND: there is no identity.
absl::StatusOr<std::string> SetIdentityAside(FileSystem& files, const std::string& state_directory);

// What every component's registration says: role, host id, name, version, boot, operating system.
control::v1::Registration DescribeHost(const JoinOptions& options, const Membership& membership,
                                       absl::string_view version);

absl::StatusOr<TlsIdentity> ReadIdentity(FileSystem& files, const IdentityFiles& paths);

// Has the certificate renewed when two thirds of its time have passed. Returns when to look again.
absl::StatusOr<absl::Duration> RenewIfDue(FileSystem& files, const Clock& clock,
                                          const IdentityFiles& paths,
                                          const std::string& config_server);

// How long from now a look at the certificate is not needed: part of what is left of it.
absl::Duration RenewalInterval(FileSystem& files, const Clock& clock, const IdentityFiles& paths);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CONTROL_ENROLMENT_H_
