#include "common/rpc/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "absl/strings/str_cat.h"
#include "common/rpc/problem_status.h"
#include "common/tls/lean_connections.h"
#include "common/wire/change_batch.h"

namespace homeward {
namespace {

constexpr int kMessageBytesMax = static_cast<int>(kBatchBytesMax) + 64 * 1024;
// Of TLS. gRPC has a buffer of that size for each connection; its default is 16 KiB.
constexpr int kSmallFrameBytes = 2048;
constexpr unsigned kIdentityRefreshSeconds = 5;
constexpr int kHandshakeMillisecondsMax = kHandshakeSecondsMax * 1000;
// Of a configuration server. A fleet comes back all at once, and all handshakes go on together:
// where they ended unfinished they would begin anew together, and none would ever end.
constexpr int kFleetHandshakeMillisecondsMax = 60 * 1000;

// A configuration server and who speaks with it do without two things that gRPC does unless told:
// statistics of each connection, which nobody asks for, and a ping whenever something comes, to
// find out how much the way carries. To a message of a few hundred bytes that adds two packets.
constexpr const char* kNotForFleets[] = {GRPC_ARG_ENABLE_CHANNELZ, GRPC_ARG_HTTP2_BDP_PROBE};

grpc::ChannelArguments MakeArguments(Role role) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(RoleDnsName(role));
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  // Who calls has a back-off of its own; gRPC's would make a restart of the server cost seconds.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  // Whatever its name says, this is how long one attempt may take, handshake and all.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, role == Role::kConfigServer
                                                          ? kFleetHandshakeMillisecondsMax
                                                          : kHandshakeMillisecondsMax);
  // Components reach each other directly. Unless told, gRPC asks the proxy that the environment
  // names.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
  // Components of one process must not share connections by accident.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (role == Role::kConfigServer) {
    for (const char* const what : kNotForFleets) arguments.SetInt(what, 0);
  }
  return arguments;
}

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsIdentity& identity) {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = identity.ca;
  options.pem_key_cert_pairs.push_back({identity.key, identity.certificate});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const IdentityFiles& files,
                                                               bool enrolling) {
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<FileWatcherCertificateProvider>(files.key, files.certificate, files.ca,
                                                       kIdentityRefreshSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(enrolling
                                    ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                                    : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::Channel> MakeEnrolmentChannel(const std::string& address,
                                                    const std::string& ca) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = ca;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options),
                                   MakeArguments(Role::kConfigServer));
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, Role role,
                                           const TlsIdentity& identity) {
  ShowCertificateAlone();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = identity.ca;
  options.pem_private_key = identity.key;
  options.pem_cert_chain = identity.certificate;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), MakeArguments(role));
}

absl::StatusOr<std::string> Authorize(const grpc::ServerContextBase& context,
                                      const std::vector<Role>& roles) {
  const auto auth = context.auth_context();
  std::string host_id, names;
  for (const grpc::string_ref& name : auth->FindPropertyValues("x509_common_name")) {
    host_id = std::string(name.data(), name.size());
  }
  for (const grpc::string_ref& ref : auth->FindPropertyValues("x509_subject_alternative_name")) {
    const std::string name(ref.data(), ref.size());
    for (const Role role : roles) {
      if (name == RoleDnsName(role)) return host_id;
    }
    absl::StrAppend(&names, names.empty() ? "" : ", ", name);
  }
  return absl::PermissionDeniedError(absl::StrCat(
      "host ", host_id, " (", names.empty() ? "no role" : names, ") may not call this"));
}

absl::StatusOr<std::unique_ptr<grpc::Server>> StartServer(const ServerOptions& options) {
  ShowCertificateAlone();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options.address,
                           MakeServerCredentials(options.identity, options.enrolling));
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.AddChannelArgument(
      GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
      options.many_connections ? kFleetHandshakeMillisecondsMax : kHandshakeMillisecondsMax);
  // Otherwise two servers of one host could have the same port, and each would get some of the
  // connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (options.many_connections) {
    UseLeanConnections();
    builder.AddChannelArgument(GRPC_ARG_TSI_MAX_FRAME_SIZE, kSmallFrameBytes);
    for (const char* const what : kNotForFleets) builder.AddChannelArgument(what, 0);
  }
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server != nullptr) return server;
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", options.address, ": is another program there?"));
}

grpc::Status ToGrpc(const absl::Status& status) {
  const std::optional<types::v1::Problem> problem = ProblemOf(status);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      problem.has_value() ? problem->SerializeAsString() : std::string());
}

absl::Status FromGrpc(const grpc::Status& status) {
  absl::Status out(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  types::v1::Problem problem;
  if (!out.ok() && problem.ParseFromString(status.error_details()) && !problem.id().empty()) {
    problem.set_message(status.error_message());
    return ToStatus(problem, out.code());
  }
  return out;
}

}  // namespace homeward
