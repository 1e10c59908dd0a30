// Session: calls to one vCenter, or one ESX host, under one account.
#ifndef HOMEWARD_COMMON_VSPHERE_SESSION_H_
#define HOMEWARD_COMMON_VSPHERE_SESSION_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/net/https_client.h"
#include "common/vsphere/soap.h"

namespace homeward::vsphere {

struct Endpoint {
  HostPort address;
  // SHA-256 of the server's certificate, as colon-separated hexadecimal bytes. Or empty:
  std::string thumbprint;
  // CAs (PEM) that it must be signed by; then its name must be right too.
  std::string trusted;
  std::string user;
  std::string password;
  HttpsProxy proxy;
};

// SHA-256 thumbprint of the certificate that whoever answers there shows.
absl::StatusOr<std::string> ShownThumbprint(const HostPort& address, const HttpsProxy& proxy);

struct CallLimit {
  absl::Duration time = absl::Seconds(60);
  // Ends the call soon after it becomes true. May be null; must outlive the call.
  const std::atomic<bool>* cancelled = nullptr;
};

// The singletons of a ServiceInstance.
struct ServiceContent {
  Ref root_folder, property_collector, view_manager, session_manager, authorization_manager,
      file_manager, search_index;
  std::string product;
  std::string api_version;
  std::string instance_uuid;
  bool is_vcenter = false;  // apiType VirtualCenter; a single host says HostAgent
};

// Thread-safe. Everything that HttpsClient::Post() and FaultToStatus() return is returned here.
class Session {
 public:
  // Checks the certificate and logs in. UNAUTHENTICATED: name or password. PERMISSION_DENIED: the
  // certificate is another than the one named; the message has the thumbprint that was shown.
  static absl::StatusOr<std::unique_ptr<Session>> Open(Endpoint endpoint, CallLimit limit = {});
  ~Session();  // Logs out, if the server answers soon.

  // A session that ended in between (an idle one does after some 30 minutes, and all do when a
  // vCenter restarts) is opened again, once, and the call made again: it was not begun.
  absl::StatusOr<Reply> Call(absl::string_view method, const Ref& self, const XmlWriter& arguments,
                             CallLimit limit = {});

  const ServiceContent& content() const { return content_; }
  // Of the last login; some calls want it.
  std::string session_key() const;
  // How often a login was made; what lives in a session (views, filters) is of one of them.
  uint64_t logins() const;

 private:
  Session(Endpoint endpoint, std::unique_ptr<HttpsClient> client);
  absl::StatusOr<Reply> Post(const std::string& request, CallLimit limit, bool once = false);
  absl::Status ReadContent(CallLimit limit);
  // Unless another thread did after login number `seen`.
  absl::Status Login(uint64_t seen, CallLimit limit);

  const Endpoint endpoint_;
  const std::unique_ptr<HttpsClient> client_;
  ServiceContent content_;
  absl::Mutex login_mutex_;  // held while one logs in
  mutable absl::Mutex mutex_;
  std::string cookie_ ABSL_GUARDED_BY(mutex_);
  std::string session_key_ ABSL_GUARDED_BY(mutex_);
  uint64_t logins_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_SESSION_H_
