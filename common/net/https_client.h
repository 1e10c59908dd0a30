// HttpsClient: one server that is called over HTTPS, its connections kept for the next call.
#ifndef HOMEWARD_COMMON_NET_HTTPS_CLIENT_H_
#define HOMEWARD_COMMON_NET_HTTPS_CLIENT_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/pieces.h"
#include "common/net/address.h"

namespace homeward {

enum class HttpsMethod { kGet, kHead, kPut, kPost, kDelete };
absl::string_view HttpsMethodName(HttpsMethod method);  // "GET"

struct HttpsReply {
  int code = 0;
  // Names in lower case; of several with one name the last.
  std::map<std::string, std::string> headers;
  std::string body;
  // A kept connection was closed, and it was sent over a new one: it may have arrived over both.
  bool maybe_sent_twice = false;
};

// The header of that name, in lower case; empty where there is none.
inline std::string HeaderOf(const HttpsReply& reply, const std::string& name) {
  const auto found = reply.headers.find(name);
  return found == reply.headers.end() ? std::string() : found->second;
}

struct HttpsRequest {
  std::string path = "/";
  std::map<std::string, std::string> headers;
  std::string body;
  // What is sent instead of `body` where this is not empty: it is not copied, and must outlive the
  // call.
  Pieces content;
  absl::Duration limit = absl::Seconds(60);
  // Ends the call soon after it becomes true. May be null; must outlive the call.
  const std::atomic<bool>* cancelled = nullptr;
  // Never sent twice: over a new connection, since a request that finds a kept one closed is
  // repeated, and nobody knows then whether it had arrived.
  bool once = false;
};

// An HTTP proxy that makes tunnels. Without an address: none, whatever the environment says.
struct HttpsProxy {
  std::string address;  // host:port
  // Host names, domains (".example.org"), addresses and networks ("10.0.0.0/8") that are reached
  // without it.
  std::vector<std::string> except;
};

struct HttpsOptions {
  HostPort address;
  HttpsProxy proxy;
  // PEM. The server's certificate must be one of these, or signed by one of them.
  std::string trusted;
  // Whether it may also be signed by one of those that this host trusts.
  bool trust_as_host = false;
  // Whether the certificate must also be for `address.host`. Not where the very certificate is
  // trusted.
  bool check_name = true;
  // False: over HTTP, for an address that never leaves its host, as a cloud's metadata service.
  bool tls = true;
  size_t connections_max = 8;  // calls at a time; further ones wait
  size_t reply_bytes_max = size_t{256} << 20;
};

// Thread-safe. Never follows a redirection.
class HttpsClient {
 public:
  explicit HttpsClient(HttpsOptions options);
  ~HttpsClient();  // No call may be under way.

  // Any reply of the server is one, whatever its code.
  //   UNAVAILABLE         no connection, or it ended before the reply was whole
  //   PERMISSION_DENIED   the server's certificate is not trusted
  //   DEADLINE_EXCEEDED   the limit
  //   CANCELLED           by the caller
  //   RESOURCE_EXHAUSTED  a reply over reply_bytes_max
  // GET, HEAD and DELETE send no body. Where the request names no Content-Type, PUT sends none,
  // POST that of a form.
  absl::StatusOr<HttpsReply> Call(HttpsMethod method, const HttpsRequest& request);
  absl::StatusOr<HttpsReply> Post(const HttpsRequest& request) {
    return Call(HttpsMethod::kPost, request);
  }

  // The certificate (PEM) that whoever answers at `address` shows, trusted or not. Nothing is sent.
  static absl::StatusOr<std::string> ShownCertificate(const HostPort& address,
                                                      const HttpsProxy& proxy,
                                                      absl::Duration limit);

 private:
  struct Connections;
  const HttpsOptions options_;
  const std::unique_ptr<Connections> connections_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_NET_HTTPS_CLIENT_H_
