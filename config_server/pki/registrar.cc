#include "config_server/pki/registrar.h"

#include <algorithm>
#include <utility>

#include "common/log/log.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr absl::Duration kFailureWindow = absl::Minutes(1);
// What was signed a moment ago must be valid on a host whose clock is a little behind.
constexpr absl::Duration kClockSkew = absl::Minutes(5);
constexpr size_t kHostIdCharacters = 32;

bool IsHostId(const std::string& id) {
  return id.size() == kHostIdCharacters && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

absl::StatusOr<std::unique_ptr<Registrar>> Registrar::Open(Store* store, const Clock& clock,
                                                           absl::Duration validity) {
  std::optional<storage::v1::Authority> record = store->Get<storage::v1::Authority>(Store::kOnly);
  if (!record.has_value()) {
    HW_ASSIGN_OR_RETURN(const CertificateAuthority made, CertificateAuthority::Create(clock.Now()));
    record.emplace();
    record->set_certificate(made.certificate());
    record->set_key(made.key());
    record->set_passphrase(MakePassphrase());
    Store::Transaction transaction;
    transaction.Put(Store::kOnly, *record);
    HW_RETURN_IF_ERROR(store->Commit(transaction));
  }
  HW_ASSIGN_OR_RETURN(CertificateAuthority authority,
                      CertificateAuthority::Load(record->certificate(), record->key()));
  return std::unique_ptr<Registrar>(
      new Registrar(store, clock, validity, std::move(authority), *std::move(record)));
}

absl::StatusOr<control::v1::EnrolResponse> Registrar::Sign(Role role, const std::string& host_id,
                                                           const std::string& signing_request) {
  control::v1::EnrolResponse response;
  HW_ASSIGN_OR_RETURN(*response.mutable_certificate(),
                      authority_.Sign(signing_request, {.role = role,
                                                        .host_id = host_id,
                                                        .not_before = clock_.Now() - kClockSkew,
                                                        .validity = validity_ + kClockSkew}));
  response.set_ca(authority_.certificate());
  return response;
}

absl::StatusOr<control::v1::EnrolResponse> Registrar::Enrol(
    const control::v1::EnrolRequest& request) {
  const absl::Duration now = clock_.Monotonic();
  while (!failures_.empty() && now - failures_.front() > kFailureWindow) failures_.pop_front();
  if (failures_.size() >= kFailuresMax) {
    return absl::ResourceExhaustedError(
        "too many enrolments with a wrong passphrase; try again in a minute");
  }
  const bool known_role = request.role() == types::v1::AGENT ||
                          request.role() == types::v1::PROCESS_SERVER ||
                          request.role() == types::v1::MASTER_TARGET;
  if (!known_role || !IsHostId(request.host_id())) {
    return absl::InvalidArgumentError("an enrolment needs a role and a host id of 32 hex digits");
  }
  const std::string proof = EnrolmentProof(record_.passphrase(), request.role(), request.host_id(),
                                           request.signing_request());
  if (!SameSecret(proof, request.proof())) {
    failures_.push_back(now);
    LogWarn("enrolment.refused", {{"host_id", request.host_id()}, {"why", "wrong passphrase"}});
    return ToStatus(MakeProblem(ProblemId::kEnrolmentRefused,
                                "the passphrase is not this configuration server's"),
                    absl::StatusCode::kPermissionDenied);
  }
  const std::optional<storage::v1::Server> server =
      store_.Get<storage::v1::Server>(request.host_id());
  const bool machine = store_.Get<storage::v1::Machine>(request.host_id()).has_value();
  if ((server.has_value() && server->role() != request.role()) ||
      (machine && request.role() != types::v1::AGENT)) {
    return ToStatus(MakeProblem(ProblemId::kEnrolmentOtherRole,
                                "this host id belongs to a component of another role"),
                    absl::StatusCode::kPermissionDenied);
  }
  return Sign(RoleOf(request.role()), request.host_id(), request.signing_request());
}

absl::StatusOr<control::v1::EnrolResponse> Registrar::Renew(Role role, const std::string& host_id,
                                                            const std::string& signing_request) {
  return Sign(role, host_id, signing_request);
}

EnrolmentFile Registrar::enrolment() const {
  return {record_.passphrase(), authority_.certificate()};
}

absl::Status Registrar::RotatePassphrase() {
  storage::v1::Authority next = record_;
  next.set_passphrase(MakePassphrase());
  Store::Transaction transaction;
  transaction.Put(Store::kOnly, next);
  HW_RETURN_IF_ERROR(store_.Commit(transaction));
  record_ = std::move(next);
  return absl::OkStatus();
}

absl::StatusOr<IdentityFiles> Registrar::KeepIdentity(FileSystem& files,
                                                      const std::string& directory, Role role,
                                                      const std::string& host_id) {
  const IdentityFiles paths = {JoinPath(directory, "ca.pem"),
                               JoinPath(directory, "certificate.pem"),
                               JoinPath(directory, "key.pem")};
  HW_RETURN_IF_ERROR(files.MakeDirectories(directory));
  absl::StatusOr<TlsIdentity> identity = ReadIdentity(files, paths);
  const bool missing = absl::IsNotFound(identity.status());
  if (!missing) HW_RETURN_IF_ERROR(identity.status());
  const bool whole = !missing && !FindFault(*identity, host_id).has_value();
  if (whole) {
    HW_ASSIGN_OR_RETURN(const Validity validity, CertificateValidity(identity->certificate));
    if (clock_.Now() < validity.begin + (validity.end - validity.begin) * 2 / 3) return paths;
  } else {
    // There is none yet, or a file changed by itself: who has the CA makes another.
    if (!missing) LogWarn("identity.made_anew", {{"directory", directory}});
    identity.emplace();
    HW_ASSIGN_OR_RETURN(identity->key, MakePrivateKey());
    HW_RETURN_IF_ERROR(WriteFileAtomically(files, paths.key, identity->key));
  }
  HW_ASSIGN_OR_RETURN(const std::string request, MakeSigningRequest(identity->key));
  HW_ASSIGN_OR_RETURN(const control::v1::EnrolResponse signed_now, Sign(role, host_id, request));
  HW_RETURN_IF_ERROR(WriteFileAtomically(files, paths.ca, signed_now.ca()));
  HW_RETURN_IF_ERROR(WriteFileAtomically(files, paths.certificate, signed_now.certificate()));
  return paths;
}

}  // namespace homeward
