#include "common/vsphere/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/tls/identity.h"
#include "common/vsphere/fault.h"
#include "common/vsphere/objects.h"

namespace homeward::vsphere {
namespace {

constexpr char kPath[] = "/sdk";
constexpr absl::Duration kGoodbye = absl::Seconds(2);
constexpr absl::Duration kGreeting = absl::Seconds(10);  // of a server that shows its certificate

bool OnlyLooks(absl::string_view method) {
  for (const char* const begin : {"Retrieve", "ContinueRetrieve", "WaitFor", "Has", "Current"}) {
    if (absl::StartsWith(method, begin)) return true;
  }
  return false;
}

// What the connections are to trust.
absl::StatusOr<HttpsOptions> Trust(const Endpoint& endpoint, CallLimit limit) {
  HttpsOptions options;
  options.address = endpoint.address;
  options.proxy = endpoint.proxy;
  if (endpoint.thumbprint.empty()) {
    options.trusted = endpoint.trusted;
    return options;
  }
  HW_ASSIGN_OR_RETURN(options.trusted,
                      HttpsClient::ShownCertificate(endpoint.address, endpoint.proxy,
                                                    std::min(limit.time, kGreeting)));
  HW_ASSIGN_OR_RETURN(const std::string shown, CertificateThumbprint(options.trusted));
  if (PlainHex(shown) != PlainHex(endpoint.thumbprint)) {
    return absl::PermissionDeniedError(absl::StrCat(
        FormatHostPort(endpoint.address), " shows a certificate with the SHA-256 thumbprint ",
        shown, ", and not ", endpoint.thumbprint,
        ": compare it with the server's own; if it was renewed, give the new one"));
  }
  // That very certificate from here on, and no other that could be shown meanwhile.
  options.check_name = false;
  return options;
}

}  // namespace

absl::StatusOr<std::string> ShownThumbprint(const HostPort& address, const HttpsProxy& proxy) {
  HW_ASSIGN_OR_RETURN(const std::string shown,
                      HttpsClient::ShownCertificate(address, proxy, kGreeting));
  return CertificateThumbprint(shown);
}

Session::Session(Endpoint endpoint, std::unique_ptr<HttpsClient> client)
    : endpoint_(std::move(endpoint)), client_(std::move(client)) {}

Session::~Session() {
  CallLimit limit;
  limit.time = kGoodbye;
  Post(MakeRequest("Logout", content_.session_manager, {}), limit).IgnoreError();
}

absl::StatusOr<std::unique_ptr<Session>> Session::Open(Endpoint endpoint, CallLimit limit) {
  HW_ASSIGN_OR_RETURN(HttpsOptions options, Trust(endpoint, limit));
  std::unique_ptr<Session> session(
      new Session(std::move(endpoint), std::make_unique<HttpsClient>(std::move(options))));
  HW_RETURN_IF_ERROR(session->ReadContent(limit));
  HW_RETURN_IF_ERROR(session->Login(0, limit));
  return session;
}

absl::StatusOr<Reply> Session::Post(const std::string& request, CallLimit limit, bool once) {
  HttpsRequest post;
  post.path = kPath;
  post.headers = {{"Content-Type", "text/xml; charset=utf-8"}, {"SOAPAction", "urn:vim25/6.0"}};
  post.body = request;
  post.limit = limit.time;
  post.cancelled = limit.cancelled;
  post.once = once;
  {
    absl::MutexLock lock(&mutex_);
    if (!cookie_.empty()) post.headers["Cookie"] = cookie_;
  }
  HW_ASSIGN_OR_RETURN(HttpsReply reply, client_->Post(post));
  // SOAP faults come with 500. Anything else is not from the service.
  if (reply.code == 503) {
    return absl::UnavailableError(
        absl::StrCat(FormatHostPort(endpoint_.address), " says 503: it is starting or too busy"));
  }
  if (reply.code != 200 && reply.code != 500) {
    return absl::InternalError(absl::StrCat(
        FormatHostPort(endpoint_.address), " answers with HTTP ", reply.code,
        reply.headers.count("location") != 0
            ? absl::StrCat(" and points to ", reply.headers["location"], ", which is not followed")
            : std::string(),
        ": is this the address of a vCenter or an ESX host?"));
  }
  const auto cookie = reply.headers.find("set-cookie");
  if (cookie != reply.headers.end()) {
    absl::MutexLock lock(&mutex_);
    cookie_ = cookie->second.substr(0, cookie->second.find(';'));
  }
  return Reply::Parse(std::move(reply.body), reply.code);
}

absl::Status Session::ReadContent(CallLimit limit) {
  HW_ASSIGN_OR_RETURN(
      const Reply reply,
      Post(MakeRequest("RetrieveServiceContent", {"ServiceInstance", "ServiceInstance"}, {}),
           limit));
  const pugi::xml_node value = reply.value();
  const auto ref = [&](const char* name) { return ReadRef(value.child(name)); };
  content_.root_folder = ref("rootFolder");
  content_.property_collector = ref("propertyCollector");
  content_.view_manager = ref("viewManager");
  content_.session_manager = ref("sessionManager");
  content_.authorization_manager = ref("authorizationManager");
  content_.file_manager = ref("fileManager");
  content_.search_index = ref("searchIndex");
  const pugi::xml_node about = value.child("about");
  content_.product = about.child("fullName").text().as_string();
  content_.api_version = about.child("apiVersion").text().as_string();
  content_.instance_uuid = about.child("instanceUuid").text().as_string();
  content_.is_vcenter =
      about.child("apiType").text().as_string() == absl::string_view("VirtualCenter");
  if (content_.session_manager.empty() || content_.property_collector.empty()) {
    return absl::InternalError(absl::StrCat(FormatHostPort(endpoint_.address),
                                            " has no session manager or property collector"));
  }
  return absl::OkStatus();
}

std::string Session::session_key() const {
  absl::MutexLock lock(&mutex_);
  return session_key_;
}

uint64_t Session::logins() const {
  absl::MutexLock lock(&mutex_);
  return logins_;
}

absl::Status Session::Login(uint64_t seen, CallLimit limit) {
  absl::MutexLock one_at_a_time(&login_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    if (logins_ != seen) return absl::OkStatus();
    cookie_.clear();
  }
  XmlWriter arguments;
  arguments.Text("userName", endpoint_.user).Text("password", endpoint_.password);
  const absl::StatusOr<Reply> reply =
      Post(MakeRequest("Login", content_.session_manager, arguments), limit);
  if (FaultTypeOf(reply.status()) == "InvalidLogin") {
    return absl::UnauthenticatedError(absl::StrCat(
        FormatHostPort(endpoint_.address), " does not take the password of ", endpoint_.user));
  }
  HW_RETURN_IF_ERROR(reply.status());
  absl::MutexLock lock(&mutex_);
  session_key_ = reply->value().child("key").text().as_string();
  ++logins_;
  return absl::OkStatus();
}

absl::StatusOr<Reply> Session::Call(absl::string_view method, const Ref& self,
                                    const XmlWriter& arguments, CallLimit limit) {
  const std::string request = MakeRequest(method, self, arguments);
  const bool once = !OnlyLooks(method);
  const uint64_t login = logins();
  absl::StatusOr<Reply> reply = Post(request, limit, once);
  if (FaultTypeOf(reply.status()) != "NotAuthenticated") return reply;
  HW_RETURN_IF_ERROR(Login(login, limit));
  return Post(request, limit, once);
}

}  // namespace homeward::vsphere
