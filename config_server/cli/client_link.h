// AdminClient: the command line's way to the configuration server.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_CLIENT_LINK_H_
#define HOMEWARD_CONFIG_SERVER_CLI_CLIENT_LINK_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/credentials.h"
#include "homeward/admin/v1/admin.grpc.pb.h"

namespace homeward {

// One thread.
class AdminClient {
 public:
  using Stub = admin::v1::AdminService::Stub;
  // `identity_directory` has ca.pem, certificate.pem and key.pem of an operator.
  static absl::StatusOr<AdminClient> Open(const std::string& address,
                                          const std::string& identity_directory);

  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    SetLimit(&context);
    return FromGrpc((stub_.get()->*method)(&context, request, response));
  }
  // Calls `show` with the job whenever it changes, until it has ended. Survives a restart of the
  // server.
  absl::StatusOr<admin::v1::Job> Watch(const std::string& job_id,
                                       const std::function<void(const admin::v1::Job&)>& show);

 private:
  explicit AdminClient(std::unique_ptr<Stub> stub) : stub_(std::move(stub)) {}
  static void SetLimit(grpc::ClientContext* context);

  std::unique_ptr<Stub> stub_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_CLIENT_LINK_H_
