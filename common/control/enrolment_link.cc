#include <grpcpp/grpcpp.h>

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "common/control/enrolment.h"
#include "common/log/log.h"
#include "common/os/host.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "homeward/control/v1/control.grpc.pb.h"

namespace homeward {
namespace {

constexpr char kIdentity[] = "identity";
constexpr char kStreams[] = "streams";
constexpr char kPassphraseKey[] = "passphrase: ";
constexpr absl::Duration kRetryMax = absl::Seconds(10);
// The handshake, and then the call.
constexpr absl::Duration kCallLimit = absl::Seconds(kHandshakeSecondsMax + 10);

void SetLimit(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(RealClock().Now() + kCallLimit));
}

absl::StatusOr<control::v1::EnrolResponse> AskForCertificate(
    const std::string& address, const EnrolmentFile& enrolment,
    const control::v1::EnrolRequest& request) {
  const auto stub =
      control::v1::ControlService::NewStub(MakeEnrolmentChannel(address, enrolment.ca));
  grpc::ClientContext context;
  SetLimit(&context);
  control::v1::EnrolResponse response;
  HW_RETURN_IF_ERROR(FromGrpc(stub->Enrol(&context, request, &response)));
  return response;
}

// Often enough that what is left is not over before the next look.
absl::Duration IntervalFor(const Validity& validity, absl::Time now) {
  return std::clamp((validity.end - now) / 4, absl::Seconds(1), absl::Hours(1));
}

// A file that is made once.
absl::StatusOr<std::string> ReadOrMake(FileSystem& files, const std::string& path,
                                       const std::function<absl::StatusOr<std::string>()>& make) {
  absl::StatusOr<std::string> content = ReadWholeFile(files, path);
  if (!absl::IsNotFound(content.status())) return content;
  HW_ASSIGN_OR_RETURN(const std::string made, make());
  HW_RETURN_IF_ERROR(WriteFileAtomically(files, path, made));
  return made;
}

// DATA_LOSS names the file that changed by itself.
absl::Status CheckMembership(FileSystem& files, const Membership& membership) {
  HW_ASSIGN_OR_RETURN(const TlsIdentity identity, ReadIdentity(files, membership.files));
  const absl::optional<IdentityFault> fault = FindFault(identity, membership.host_id);
  if (!fault.has_value()) return absl::OkStatus();
  const std::string directory = ParentDirectory(membership.files.ca);
  const std::string path = fault->part == IdentityPart::kCa ? membership.files.ca
                           : fault->part == IdentityPart::kCertificate
                               ? membership.files.certificate
                           : fault->part == IdentityPart::kKey ? membership.files.key
                                                               : JoinPath(directory, "host_id");
  return absl::DataLossError(absl::StrCat(
      path, " ", fault->why, ": restore ", directory,
      " from a copy; without one, remove it and enrol this host anew, as another component"));
}

}  // namespace

std::string FormatEnrolmentFile(const EnrolmentFile& enrolment) {
  return absl::StrCat(kPassphraseKey, enrolment.passphrase, "\n", enrolment.ca);
}

absl::StatusOr<EnrolmentFile> ParseEnrolmentFile(const std::string& text) {
  EnrolmentFile out;
  bool in_certificate = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (absl::StartsWith(line, "-----BEGIN")) in_certificate = true;
    if (in_certificate) absl::StrAppend(&out.ca, line, "\n");
    if (absl::StartsWith(line, "-----END")) in_certificate = false;
    if (absl::ConsumePrefix(&line, kPassphraseKey)) out.passphrase = std::string(line);
  }
  if (out.passphrase.empty() || out.ca.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "not an enrolment file: it has no ",
        out.passphrase.empty() ? "passphrase" : "CA certificate",
        ". Make one on the configuration server with: homeward enrol passphrase show"));
  }
  return out;
}

std::string EnrolmentProof(absl::string_view passphrase, types::v1::ServerRole role,
                           absl::string_view host_id, absl::string_view signing_request) {
  return KeyedDigest(passphrase,
                     absl::StrCat("homeward enrolment 1\n", types::v1::ServerRole_Name(role), "\n",
                                  host_id, "\n", signing_request));
}

Role RoleOf(types::v1::ServerRole role) {
  switch (role) {
    case types::v1::PROCESS_SERVER:
      return Role::kProcessServer;
    case types::v1::MASTER_TARGET:
      return Role::kMasterTarget;
    default:
      return Role::kAgent;
  }
}

absl::StatusOr<std::string> SetIdentityAside(FileSystem& files,
                                             const std::string& state_directory) {
  HW_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(state_directory));
  const auto has = [&](const std::string& name) { return absl::c_linear_search(names, name); };
  if (!has(kIdentity))
    return absl::NotFoundError(absl::StrCat(state_directory, " has no identity to set aside"));
  std::string suffix = ".set_aside";
  for (int number = 2; has(kIdentity + suffix) || has(kStreams + suffix); ++number)
    suffix = absl::StrCat(".set_aside.", number);
  std::string told;
  // The identity last: without it, what a stream remembers would be another machine's.
  for (const char* const name : {kStreams, kIdentity}) {
    if (!has(name)) continue;
    const std::string from = JoinPath(state_directory, name);
    HW_RETURN_IF_ERROR(files.Rename(from, from + suffix));
    absl::StrAppend(&told, from, " is now ", from, suffix, "\n");
  }
  HW_RETURN_IF_ERROR(files.SyncDirectory(state_directory));
  return told;
}

control::v1::Registration DescribeHost(const JoinOptions& options, const Membership& membership,
                                       absl::string_view version) {
  const HostFacts facts = ReadHostFacts();
  control::v1::Registration registration;
  registration.set_role(options.role);
  registration.set_host_id(membership.host_id);
  registration.set_name(options.join.name().empty() ? facts.name : options.join.name());
  registration.set_version(std::string(version));
  registration.set_encrypts_streams(true);
  registration.set_compresses_encrypted(true);
  registration.set_boot_id(facts.boot_id);
  static const std::string& start = *new std::string(RandomHexId());
  registration.set_incarnation(start);
  *registration.mutable_running_for() = ToProto(ProcessAge());
  registration.set_hardware_uuid(facts.hardware_uuid);
  registration.set_os_type(types::v1::LINUX);
  registration.set_os_name(facts.os_name);
  for (const std::string& mac : facts.mac_addresses) registration.add_mac_addresses(mac);
  *registration.mutable_booted_at() = ToProto(RealClock().Now() - facts.uptime);
  *registration.mutable_up_for() = ToProto(facts.uptime);
  return registration;
}

absl::StatusOr<TlsIdentity> ReadIdentity(FileSystem& files, const IdentityFiles& paths) {
  TlsIdentity identity;
  HW_ASSIGN_OR_RETURN(identity.ca, ReadWholeFile(files, paths.ca));
  HW_ASSIGN_OR_RETURN(identity.certificate, ReadWholeFile(files, paths.certificate));
  HW_ASSIGN_OR_RETURN(identity.key, ReadWholeFile(files, paths.key));
  return identity;
}

absl::StatusOr<Membership> JoinFabric(FileSystem& files, const JoinOptions& options,
                                      const absl::Notification& stopping) {
  const std::string directory = JoinPath(options.state_directory, kIdentity);
  HW_RETURN_IF_ERROR(files.MakeDirectories(directory));
  Membership membership;
  membership.files = {JoinPath(directory, "ca.pem"), JoinPath(directory, "certificate.pem"),
                      JoinPath(directory, "key.pem")};
  HW_ASSIGN_OR_RETURN(membership.host_id, ReadOrMake(files, JoinPath(directory, "host_id"), [] {
                        return absl::StatusOr<std::string>(RandomHexId());
                      }));
  HW_ASSIGN_OR_RETURN(const std::string key,
                      ReadOrMake(files, membership.files.key, [] { return MakePrivateKey(); }));
  const absl::StatusOr<std::string> certificate =
      ReadWholeFile(files, membership.files.certificate);
  if (certificate.ok()) {
    HW_RETURN_IF_ERROR(CheckMembership(files, membership));
    return membership;
  }
  if (!absl::IsNotFound(certificate.status())) return certificate.status();

  if (options.join.enrolment_file().empty()) {
    return absl::FailedPreconditionError(
        "this host is not enrolled and join.enrolment_file is not set. Make one on the "
        "configuration server with: homeward enrol passphrase show");
  }
  HW_ASSIGN_OR_RETURN(const std::string text,
                      ReadWholeFile(files, options.join.enrolment_file(), kMiB));
  absl::StatusOr<EnrolmentFile> enrolment = ParseEnrolmentFile(text);
  if (!enrolment.ok()) return Annotate(enrolment.status(), options.join.enrolment_file());
  control::v1::EnrolRequest request;
  request.set_role(options.role);
  request.set_host_id(membership.host_id);
  HW_ASSIGN_OR_RETURN(*request.mutable_signing_request(), MakeSigningRequest(key));
  request.set_proof(EnrolmentProof(enrolment->passphrase, options.role, membership.host_id,
                                   request.signing_request()));
  absl::Duration delay = absl::Milliseconds(200);
  while (true) {
    const auto response = AskForCertificate(options.join.config_server(), *enrolment, request);
    if (response.ok()) {
      HW_RETURN_IF_ERROR(WriteFileAtomically(files, membership.files.ca, response->ca()));
      HW_RETURN_IF_ERROR(
          WriteFileAtomically(files, membership.files.certificate, response->certificate()));
      LogInfo("enrolment.done", {{"host_id", membership.host_id}});
      return membership;
    }
    const absl::StatusCode code = response.status().code();
    const bool is_refused = code == absl::StatusCode::kInvalidArgument ||
                            code == absl::StatusCode::kPermissionDenied ||
                            code == absl::StatusCode::kUnimplemented;
    if (is_refused) return Annotate(response.status(), "enrolment");
    LogWarn("enrolment.waiting", {{"config_server", options.join.config_server()},
                                  {"error", Describe(response.status())}});
    if (stopping.WaitForNotificationWithTimeout(delay))
      return absl::CancelledError("stopped while it waited for its enrolment");
    delay = std::min(delay * 2, kRetryMax);
  }
}

absl::Duration RenewalInterval(FileSystem& files, const Clock& clock, const IdentityFiles& paths) {
  const absl::StatusOr<std::string> certificate = ReadWholeFile(files, paths.certificate);
  if (!certificate.ok()) return absl::Hours(1);
  const absl::StatusOr<Validity> validity = CertificateValidity(*certificate);
  return validity.ok() ? IntervalFor(*validity, clock.Now()) : absl::Hours(1);
}

absl::StatusOr<absl::Duration> RenewIfDue(FileSystem& files, const Clock& clock,
                                          const IdentityFiles& paths,
                                          const std::string& config_server) {
  HW_ASSIGN_OR_RETURN(const TlsIdentity identity, ReadIdentity(files, paths));
  HW_ASSIGN_OR_RETURN(const Validity validity, CertificateValidity(identity.certificate));
  const absl::Duration again = IntervalFor(validity, clock.Now());
  if (clock.Now() < validity.begin + (validity.end - validity.begin) * 2 / 3) return again;
  const auto stub = control::v1::ControlService::NewStub(
      MakeChannel(config_server, Role::kConfigServer, identity));
  grpc::ClientContext context;
  SetLimit(&context);
  control::v1::RenewRequest request;
  // For the same key, so that one file changes and the two on disk always belong together.
  HW_ASSIGN_OR_RETURN(*request.mutable_signing_request(), MakeSigningRequest(identity.key));
  control::v1::EnrolResponse response;
  HW_RETURN_IF_ERROR(FromGrpc(stub->Renew(&context, request, &response)));
  HW_RETURN_IF_ERROR(WriteFileAtomically(files, paths.certificate, response.certificate()));
  LogInfo("certificate.renewed");
  return again;
}

}  // namespace homeward
