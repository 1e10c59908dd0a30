// Mutual TLS for gRPC, from a TlsIdentity, and the check of who is calling.
#ifndef HOMEWARD_COMMON_RPC_CREDENTIALS_H_
#define HOMEWARD_COMMON_RPC_CREDENTIALS_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tls/identity.h"

namespace homeward {

// A server that takes only clients with a certificate of the same CA.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsIdentity& identity);
// The same from files, which are read again when they change, so that a renewed certificate is used
// without a restart. `enrolling` also takes clients without a certificate: methods must
// Authorize().
struct IdentityFiles {
  std::string ca;
  std::string certificate;
  std::string key;
};
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const IdentityFiles& files,
                                                               bool enrolling);
struct ServerOptions {
  std::string address;  // host:port
  IdentityFiles identity;
  std::vector<grpc::Service*> services;  // outlive the server
  bool enrolling = false;
  // There will be thousands of connections with little to say: each has small buffers.
  bool many_connections = false;
};
// UNAVAILABLE when it cannot listen there.
absl::StatusOr<std::unique_ptr<grpc::Server>> StartServer(const ServerOptions& options);
// Checks the server's certificate against `ca`, and shows none: for enrolment.
std::shared_ptr<grpc::Channel> MakeEnrolmentChannel(const std::string& address,
                                                    const std::string& ca);
// A channel to `address` (host:port), which must show a certificate of `role`.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, Role role,
                                           const TlsIdentity& identity);

// The caller's host id. PERMISSION_DENIED, naming the caller, unless its certificate has one of
// `roles`.
absl::StatusOr<std::string> Authorize(const grpc::ServerContextBase& context,
                                      const std::vector<Role>& roles);

// A problem in the status goes along.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_RPC_CREDENTIALS_H_
