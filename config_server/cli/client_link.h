// AdminClient: the command line's way to the configuration server.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_CLIENT_LINK_H_
#define HOMEWARD_CONFIG_SERVER_CLI_CLIENT_LINK_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/credentials.h"
#include "google/protobuf/descriptor.h"
#include "homeward/admin/v1/admin.grpc.pb.h"

namespace homeward {

// One thread.
class AdminClient {
 public:
  using Stub = admin::v1::AdminService::Stub;
  template <typename Request, typename Response>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);
  struct Options {
    std::string address;  // host:port
    // With ca.pem, certificate.pem and key.pem of an operator.
    std::string identity_directory;
    // Of a call from beginning to answer, with what it takes to connect.
    absl::Duration call_limit = absl::Seconds(30);
    // How long a watch tries to connect again.
    absl::Duration reconnect_limit = absl::Seconds(60);
    // Called once for each call that has to wait for the server. May be empty.
    std::function<void()> waiting;
  };
  static absl::StatusOr<AdminClient> Open(Options options);

  // Waits for the server within the limit. A call of which it is not known what became is sent
  // again only when the protocol says that it may be; else the status says that it is not known.
  template <typename Request, typename Response>
  absl::Status Call(Method<Request, Response> method, const Request& request, Response* response) {
    return Send(MayBeRepeated(*Request::descriptor(), *Response::descriptor()),
                [&](grpc::ClientContext* context) {
                  return (stub_.get()->*method)(context, request, response);
                });
  }
  // Calls `show` with the job whenever it changes, until it has ended. Survives a restart of the
  // server.
  absl::StatusOr<admin::v1::Job> Watch(const std::string& job_id,
                                       const std::function<void(const admin::v1::Job&)>& show);

  // Whether the protocol says so of the method that takes and returns these.
  static bool MayBeRepeated(const google::protobuf::Descriptor& request,
                            const google::protobuf::Descriptor& response);

 private:
  explicit AdminClient(Options options) : options_(std::move(options)) {}
  // With the identity as it is in the files now: it is renewed while a watch goes on.
  absl::Status Connect();
  absl::Status Send(bool may_be_repeated,
                    const std::function<grpc::Status(grpc::ClientContext*)>& call);
  // False: there was no connection by then. Nothing was sent.
  bool AwaitConnection(absl::Time end);

  Options options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Stub> stub_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_CLIENT_LINK_H_
