#include "common/rpc/credentials.h"

#include "absl/strings/str_cat.h"
#include "common/wire/change_batch.h"

namespace homeward {
namespace {

constexpr int kMessageBytesMax = static_cast<int>(kBatchBytesMax) + 64 * 1024;

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsIdentity& identity) {
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = identity.ca;
  options.pem_key_cert_pairs.push_back({identity.key, identity.certificate});
  return grpc::SslServerCredentials(options);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, Role role,
                                           const TlsIdentity& identity) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = identity.ca;
  options.pem_private_key = identity.key;
  options.pem_cert_chain = identity.certificate;
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(RoleDnsName(role));
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
  // Parts of one process must not share connections by accident.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

absl::StatusOr<std::string> Authorize(const grpc::ServerContext& context,
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

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace homeward
