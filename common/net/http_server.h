// HttpServer: what monitoring reads from a daemon. cpp-httplib's home.
#ifndef HOMEWARD_COMMON_NET_HTTP_SERVER_H_
#define HOMEWARD_COMMON_NET_HTTP_SERVER_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace homeward {

struct HttpReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

class HttpServer {
 public:
  // By path. Called from the server's threads.
  using Pages = std::map<std::string, std::function<HttpReply()>>;
  // `address` is host:port; port 0 takes a free one. Answers GET only, without TLS: let it listen
  // on an address that only monitoring reaches.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& address, Pages pages);
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_NET_HTTP_SERVER_H_
