#include "common/net/http_server.h"

#include <httplib.h>

#include <thread>
#include <utility>

#include "common/net/address.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

class HttplibServer : public HttpServer {
 public:
  explicit HttplibServer(Pages pages) : pages_(std::move(pages)) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(1); };
    server_.set_keep_alive_max_count(1);
    server_.set_payload_max_length(4096);
    for (const auto& [path, page] : pages_) {
      server_.Get(path, [&page](const httplib::Request&, httplib::Response& response) {
        HttpReply reply = page();
        response.status = reply.status;
        response.set_content(std::move(reply.body), reply.content_type.c_str());
      });
    }
  }
  absl::Status Listen(const std::string& address) {
    HW_ASSIGN_OR_RETURN(const HostPort where, ParseHostPort(address));
    if (where.port == 0) {
      port_ = server_.bind_to_any_port(where.host);
    } else {
      port_ = server_.bind_to_port(where.host, where.port) ? where.port : -1;
    }
    if (port_ < 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", address, ": is another program there?"));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
    return absl::OkStatus();
  }
  ~HttplibServer() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }
  int port() const override { return port_; }

 private:
  const Pages pages_;
  httplib::Server server_;
  int port_ = -1;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& address,
                                                              Pages pages) {
  auto server = std::make_unique<HttplibServer>(std::move(pages));
  HW_RETURN_IF_ERROR(server->Listen(address));
  return server;
}

}  // namespace homeward
