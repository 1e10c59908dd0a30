#include "common/net/https_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"

namespace homeward {
namespace curl {

struct End {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, End>;

}  // namespace curl

namespace {

using curl::Handle;

constexpr absl::Duration kConnectLimit = absl::Seconds(10);
constexpr long kUploadBytes = 256 << 10;
// As between our own daemons: what costs the least first, where the server leaves it to us.
constexpr char kCiphers[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

Handle MakeHandle() {
  // Once for the process; not safe beside itself, which a static is.
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  return Handle(ready == CURLE_OK ? curl_easy_init() : nullptr);
}

struct Incoming {
  HttpsReply reply;
  size_t bytes_max = 0;
  bool too_large = false;
};

size_t TakeBody(char* data, size_t size, size_t count, void* user) {
  auto* const incoming = static_cast<Incoming*>(user);
  if (size * count > incoming->bytes_max - incoming->reply.body.size()) {
    incoming->too_large = true;
    return 0;
  }
  incoming->reply.body.append(data, size * count);
  return size * count;
}

size_t TakeHeader(char* data, size_t size, size_t count, void* user) {
  auto* const incoming = static_cast<Incoming*>(user);
  const absl::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (colon != line.npos) {
    incoming->reply.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return size * count;
}

int Watch(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* const cancelled = static_cast<const std::atomic<bool>*>(user);
  return cancelled != nullptr && cancelled->load() ? 1 : 0;
}

std::string UrlOf(const HostPort& address, const std::string& path, bool tls = true) {
  return absl::StrCat(tls ? "https://" : "http://", FormatHostPort(address), path);
}

// Both are always set: what is not, libcurl takes from the environment.
void SetProxy(CURL* curl, const HttpsProxy& proxy) {
  curl_easy_setopt(curl, CURLOPT_PROXY,
                   proxy.address.empty() ? "" : absl::StrCat("http://", proxy.address).c_str());
  curl_easy_setopt(curl, CURLOPT_NOPROXY, absl::StrJoin(proxy.except, ",").c_str());
}

// What is sent, and how far it is.
struct Outgoing {
  const Pieces& content;
  Pieces::Place next = content.begin();
  size_t done = 0;  // of that piece
};

size_t GiveBody(char* out, size_t size, size_t count, void* user) {
  auto* const outgoing = static_cast<Outgoing*>(user);
  size_t given = 0;
  while (given < size * count && outgoing->next != outgoing->content.end()) {
    const absl::string_view left = outgoing->next->substr(outgoing->done);
    const size_t bytes = std::min(left.size(), size * count - given);
    std::memcpy(out + given, left.data(), bytes);
    given += bytes;
    outgoing->done += bytes;
    if (bytes < left.size()) break;
    ++outgoing->next;
    outgoing->done = 0;
  }
  return given;
}

// From the beginning again: a kept connection was closed.
int BeginAgain(void* user, curl_off_t offset, int origin) {
  auto* const outgoing = static_cast<Outgoing*>(user);
  if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  outgoing->next = outgoing->content.begin();
  outgoing->done = 0;
  return CURL_SEEKFUNC_OK;
}

// libcurl reads `body` where it is.
void SetMethod(CURL* curl, HttpsMethod method, Outgoing* body) {
  switch (method) {
    case HttpsMethod::kGet:
      curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
      return;
    case HttpsMethod::kHead:
      curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
      return;
    case HttpsMethod::kDelete:
      curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "DELETE");
      return;
    case HttpsMethod::kPut:
    case HttpsMethod::kPost:
      curl_easy_setopt(curl, CURLOPT_POST, 1L);
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(body->content.size()));
      curl_easy_setopt(curl, CURLOPT_READFUNCTION, GiveBody);
      curl_easy_setopt(curl, CURLOPT_READDATA, body);
      curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, BeginAgain);
      curl_easy_setopt(curl, CURLOPT_SEEKDATA, body);
      curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBytes);
      if (method == HttpsMethod::kPut) curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
      return;
  }
}

absl::Status ToStatus(CURLcode code, const HostPort& address, const char* why) {
  const std::string text =
      absl::StrCat(FormatHostPort(address), ": ", *why != '\0' ? why : curl_easy_strerror(code));
  switch (code) {
    case CURLE_OK:
      return absl::OkStatus();
    case CURLE_OPERATION_TIMEDOUT:
      return absl::DeadlineExceededError(text);
    case CURLE_ABORTED_BY_CALLBACK:
      return absl::CancelledError(text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return absl::PermissionDeniedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace

absl::string_view HttpsMethodName(HttpsMethod method) {
  switch (method) {
    case HttpsMethod::kGet:
      return "GET";
    case HttpsMethod::kHead:
      return "HEAD";
    case HttpsMethod::kPut:
      return "PUT";
    case HttpsMethod::kPost:
      return "POST";
    case HttpsMethod::kDelete:
      return "DELETE";
  }
  return "";
}

struct HttpsClient::Connections {
  absl::Mutex mutex;
  size_t in_use ABSL_GUARDED_BY(mutex) = 0;
  std::vector<Handle> idle ABSL_GUARDED_BY(mutex);
};

HttpsClient::HttpsClient(HttpsOptions options)
    : options_(std::move(options)), connections_(std::make_unique<Connections>()) {}

HttpsClient::~HttpsClient() = default;

absl::StatusOr<HttpsReply> HttpsClient::Call(HttpsMethod method, const HttpsRequest& request) {
  Connections& connections = *connections_;
  Handle handle;
  {
    const auto free = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(connections.mutex) {
      return connections.in_use < options_.connections_max;
    };
    absl::MutexLock lock(&connections.mutex);
    if (!connections.mutex.AwaitWithTimeout(absl::Condition(&free), request.limit)) {
      return absl::DeadlineExceededError(
          absl::StrCat(FormatHostPort(options_.address), ": ", options_.connections_max,
                       " calls are under way, and none of them ended in time"));
    }
    ++connections.in_use;
    if (!connections.idle.empty()) {
      handle = std::move(connections.idle.back());
      connections.idle.pop_back();
    }
  }
  const absl::Cleanup give_back = [&] {
    absl::MutexLock lock(&connections.mutex);
    --connections.in_use;
    if (handle != nullptr) connections.idle.push_back(std::move(handle));
  };
  const bool has_kept = handle != nullptr;
  if (handle == nullptr) handle = MakeHandle();
  if (handle == nullptr) return absl::InternalError("libcurl does not start");

  CURL* const curl = handle.get();
  curl_easy_reset(curl);  // Connections stay.
  Incoming incoming;
  incoming.bytes_max = options_.reply_bytes_max;
  char why[CURL_ERROR_SIZE] = "";
  curl_slist* headers = curl_slist_append(nullptr, "Expect:");
  if (method == HttpsMethod::kPut) headers = curl_slist_append(headers, "Content-Type:");
  for (const auto& [name, value] : request.headers)
    headers = curl_slist_append(headers, absl::StrCat(name, ": ", value).c_str());
  const absl::Cleanup free_headers = [&] { curl_slist_free_all(headers); };
  curl_blob trusted = {const_cast<char*>(options_.trusted.data()), options_.trusted.size(),
                       CURL_BLOB_NOCOPY};
  curl_easy_setopt(curl, CURLOPT_URL, UrlOf(options_.address, request.path, options_.tls).c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, options_.tls ? "https" : "http");
  SetProxy(curl, options_.proxy);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(curl, CURLOPT_TLS13_CIPHERS, kCiphers);
  // They are in place of the host's in one file; its folder of them is another place to look.
  if (!options_.trust_as_host || !options_.trusted.empty())
    curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &trusted);
  if (!options_.trust_as_host) curl_easy_setopt(curl, CURLOPT_CAPATH, nullptr);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, options_.check_name ? 2L : 0L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(kConnectLimit)));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(request.limit)));
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, request.once ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  const Pieces body = request.content.empty() ? Pieces(request.body) : request.content;
  Outgoing outgoing{body};
  SetMethod(curl, method, &outgoing);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, TakeBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &incoming);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, TakeHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &incoming);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, Watch);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, request.cancelled);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  const CURLcode code = curl_easy_perform(curl);
  if (incoming.too_large) {
    return absl::ResourceExhaustedError(absl::StrCat(FormatHostPort(options_.address),
                                                     ": a reply of more than ",
                                                     options_.reply_bytes_max, " bytes"));
  }
  if (code != CURLE_OK) return ToStatus(code, options_.address, why);
  long status = 0, connections_made = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connections_made);
  incoming.reply.code = static_cast<int>(status);
  incoming.reply.maybe_sent_twice = has_kept && !request.once && connections_made > 0;
  return std::move(incoming.reply);
}

absl::StatusOr<std::string> HttpsClient::ShownCertificate(const HostPort& address,
                                                          const HttpsProxy& proxy,
                                                          absl::Duration limit) {
  const Handle handle = MakeHandle();
  if (handle == nullptr) return absl::InternalError("libcurl does not start");
  CURL* const curl = handle.get();
  char why[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_URL, UrlOf(address, "/").c_str());
  SetProxy(curl, proxy);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  curl_easy_setopt(curl, CURLOPT_CERTINFO, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(limit)));
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) return ToStatus(code, address, why);
  curl_certinfo* chain = nullptr;
  curl_easy_getinfo(curl, CURLINFO_CERTINFO, &chain);
  constexpr absl::string_view kCertificate = "Cert:";
  for (const curl_slist* field = chain == nullptr || chain->num_of_certs == 0 ? nullptr
                                                                              : chain->certinfo[0];
       field != nullptr; field = field->next) {
    const absl::string_view text = field->data;
    if (text.substr(0, kCertificate.size()) == kCertificate)
      return std::string(text.substr(kCertificate.size()));
  }
  return absl::UnavailableError(
      absl::StrCat(FormatHostPort(address), " shows no certificate of its own"));
}

}  // namespace homeward
