#include "common/azure/token.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "common/azure/address.h"
#include "common/azure/arm_error.h"
#include "common/azure/json.h"
#include "common/azure/retry.h"
#include "common/status/status_macros.h"
#include "common/tls/identity.h"
#include "common/tls/signing.h"

namespace homeward::azure {
namespace {

constexpr absl::Duration kRequestLimit = absl::Seconds(30);
constexpr absl::Duration kBeforeEnd = absl::Minutes(5);
// After a renewal that failed, while the present token is valid yet.
constexpr absl::Duration kRenewAgain = absl::Seconds(30);
constexpr absl::Duration kAssertionValidity = absl::Minutes(5);
constexpr absl::Duration kFirstWait = absl::Seconds(1);
constexpr absl::Duration kWaitMax = absl::Seconds(16);
// The identity service of a VM, as it is documented.
constexpr char kMetadataPath[] = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=";

struct Fetched {
  std::string token;
  absl::Duration validity;
  absl::Duration renew_after;  // of it
};

std::string Base64Url(absl::string_view bytes) {
  std::string text = absl::WebSafeBase64Escape(bytes);
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

class EntraTokens : public Tokens {
 public:
  EntraTokens(Credential credential, WebAddress place, const Clock& clock, Pauses& pauses,
              const std::atomic<bool>* stop)
      : credential_(std::move(credential)),
        place_(std::move(place)),
        clock_(clock),
        pauses_(pauses),
        stop_(stop),
        client_(ClientOptions()) {}

  absl::StatusOr<std::string> Token(absl::string_view resource) override;
  void Forget(absl::string_view resource, const std::string& token) override;

 private:
  struct Entry {
    std::string token;
    absl::Duration ends, renew_at;  // monotonic
    bool fetching = false;
    uint64_t fetches = 0;
    absl::Status last;  // of the last fetch
  };

  bool by_metadata() const {
    return credential_.client_secret.empty() && credential_.certificate.empty();
  }
  HttpsOptions ClientOptions() const;
  absl::StatusOr<Fetched> Fetch(const std::string& resource);
  absl::StatusOr<HttpsReply> Ask(const std::string& resource);
  absl::StatusOr<std::string> Form(const std::string& resource);
  absl::StatusOr<std::string> Assertion();
  absl::StatusOr<Fetched> ReadToken(const HttpsReply& reply) const;
  absl::Status Refused(const HttpsReply& reply) const;

  const Credential credential_;
  const WebAddress place_;
  const Clock& clock_;
  Pauses& pauses_;
  const std::atomic<bool>* const stop_;
  HttpsClient client_;
  absl::Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

HttpsOptions EntraTokens::ClientOptions() const {
  HttpsOptions options;
  options.address = place_.host;
  options.trusted = credential_.trusted;
  options.trust_as_host = true;
  options.tls = place_.tls;
  if (!by_metadata()) options.proxy = credential_.proxy;
  return options;
}

absl::StatusOr<std::string> EntraTokens::Token(absl::string_view resource) {
  const std::string name(resource);
  {
    absl::MutexLock lock(&mutex_);
    Entry& entry = entries_[name];
    while (true) {
      const absl::Duration now = clock_.Monotonic();
      const bool valid = !entry.token.empty() && now < entry.ends;
      if (valid && (now < entry.renew_at || entry.fetching)) return entry.token;
      if (!entry.fetching) break;
      const uint64_t seen = entry.fetches;
      const auto fetched = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return entry.fetches != seen;
      };
      mutex_.Await(absl::Condition(&fetched));
      // What failed for one has failed for those who waited for it.
      if (!entry.last.ok() && entry.token.empty()) return entry.last;
    }
    entry.fetching = true;
  }
  const absl::Duration begun = clock_.Monotonic();
  absl::StatusOr<Fetched> fetched = Fetch(name);
  absl::MutexLock lock(&mutex_);
  Entry& entry = entries_[name];
  entry.fetching = false;
  ++entry.fetches;
  entry.last = fetched.status();
  if (fetched.ok()) {
    entry.token = std::move(fetched->token);
    entry.ends = begun + fetched->validity;
    entry.renew_at = begun + fetched->renew_after;
    return entry.token;
  }
  const absl::Duration now = clock_.Monotonic();
  if (!entry.token.empty() && now < entry.ends) {
    entry.renew_at = now + kRenewAgain;
    return entry.token;
  }
  entry.token.clear();
  return entry.last;
}

void EntraTokens::Forget(absl::string_view resource, const std::string& token) {
  absl::MutexLock lock(&mutex_);
  const auto found = entries_.find(std::string(resource));
  if (found != entries_.end() && found->second.token == token) found->second.token.clear();
}

absl::StatusOr<std::string> EntraTokens::Assertion() {
  HW_ASSIGN_OR_RETURN(std::string thumbprint, CertificateThumbprint(credential_.certificate));
  thumbprint = absl::HexStringToBytes(absl::StrReplaceAll(thumbprint, {{":", ""}}));
  const int64_t now = absl::ToUnixSeconds(clock_.Now());
  const Json header = {{"alg", "PS256"}, {"typ", "JWT"}, {"x5t#S256", Base64Url(thumbprint)}};
  const auto random = [this] { return static_cast<uint64_t>(pauses_.Fraction() * (1ULL << 53)); };
  const Json claims = {{"aud", absl::StrCat(credential_.authority, "/", credential_.tenant_id,
                                            "/oauth2/v2.0/token")},
                       {"iss", credential_.client_id},
                       {"sub", credential_.client_id},
                       {"jti", absl::StrFormat("%014x%014x", random(), random())},
                       {"nbf", now},
                       {"iat", now},
                       {"exp", now + absl::ToInt64Seconds(kAssertionValidity)}};
  const std::string message = absl::StrCat(Base64Url(Dump(header)), ".", Base64Url(Dump(claims)));
  HW_ASSIGN_OR_RETURN(const std::string signature, SignPs256(credential_.certificate_key, message));
  return absl::StrCat(message, ".", Base64Url(signature));
}

absl::StatusOr<std::string> EntraTokens::Form(const std::string& resource) {
  const std::string scope = absl::StrCat(absl::StripSuffix(resource, "/"), "/.default");
  std::string form =
      absl::StrCat("grant_type=client_credentials&client_id=", Encoded(credential_.client_id),
                   "&scope=", Encoded(scope));
  if (!credential_.client_secret.empty()) {
    absl::StrAppend(&form, "&client_secret=", Encoded(credential_.client_secret));
    return form;
  }
  HW_ASSIGN_OR_RETURN(const std::string assertion, Assertion());
  absl::StrAppend(&form, "&client_assertion_type=",
                  Encoded("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                  "&client_assertion=", assertion);
  return form;
}

absl::StatusOr<HttpsReply> EntraTokens::Ask(const std::string& resource) {
  HttpsRequest request;
  request.limit = kRequestLimit;
  request.cancelled = stop_;
  if (by_metadata()) {
    request.path = absl::StrCat(kMetadataPath, Encoded(resource));
    if (!credential_.client_id.empty())
      absl::StrAppend(&request.path, "&client_id=", Encoded(credential_.client_id));
    request.headers = {{"Metadata", "true"}};
    return client_.Call(HttpsMethod::kGet, request);
  }
  request.path = absl::StrCat(place_.path == "/" ? "" : place_.path, "/",
                              Encoded(credential_.tenant_id), "/oauth2/v2.0/token");
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                     {"Accept", "application/json"}};
  HW_ASSIGN_OR_RETURN(request.body, Form(resource));
  return client_.Call(HttpsMethod::kPost, request);
}

absl::StatusOr<Fetched> EntraTokens::ReadToken(const HttpsReply& reply) const {
  HW_ASSIGN_OR_RETURN(const Json json, ParseJson(reply.body));
  Fetched out;
  out.token = TextAt(json, {"access_token"});
  out.validity = absl::Seconds(NumberAt(json, {"expires_in"}));
  if (out.token.empty() || out.validity <= absl::ZeroDuration())
    return absl::InternalError("the reply has no access_token, or one that has ended");
  const absl::Duration refresh = absl::Seconds(NumberAt(json, {"refresh_in"}));
  out.renew_after = refresh > absl::ZeroDuration()
                        ? std::min(refresh, out.validity)
                        : std::max(out.validity - kBeforeEnd, out.validity / 2);
  return out;
}

absl::Status EntraTokens::Refused(const HttpsReply& reply) const {
  const absl::StatusOr<Json> json = ParseJson(reply.body);
  const std::string error = json.ok() ? TextAt(*json, {"error"}) : std::string();
  const std::string why =
      json.ok() ? TextAt(*json, {"error_description"}) : reply.body.substr(0, 200);
  absl::Status refused = absl::PermissionDeniedError(absl::StrCat(
      "no token for ",
      by_metadata() ? absl::StrCat("the managed identity ", credential_.client_id)
                    : absl::StrCat("application ", credential_.client_id, " of tenant ",
                                   credential_.tenant_id),
      ": HTTP ", reply.code, " ", error, ": ", why,
      by_metadata()
          ? ". Give the VM this identity, or name another"
          : ". Check tenant, application and its secret or certificate, and when that ends"));
  return WithErrorCode(std::move(refused), error.empty() ? "Refused" : error);
}

absl::StatusOr<Fetched> EntraTokens::Fetch(const std::string& resource) {
  const absl::Duration begun = clock_.Monotonic();
  const std::string from = absl::StrCat(
      "get a token from ", by_metadata() ? credential_.metadata : credential_.authority);
  absl::Duration backoff = kFirstWait;
  while (true) {
    const absl::StatusOr<HttpsReply> reply = Ask(resource);
    absl::Status failure;
    absl::Duration wait = backoff * (0.5 + pauses_.Fraction() / 2);
    if (!reply.ok()) {
      failure = Annotate(reply.status(), from);
      if (!absl::IsUnavailable(failure) && !absl::IsDeadlineExceeded(failure)) return failure;
    } else if (reply->code == 200) {
      absl::StatusOr<Fetched> fetched = ReadToken(*reply);
      if (!fetched.ok()) return Annotate(fetched.status(), from);
      return fetched;
    } else {
      // 404 and 410 of IMDS: it is being updated.
      const bool busy = reply->code == 429 || reply->code == 408 || reply->code >= 500 ||
                        (by_metadata() && (reply->code == 404 || reply->code == 410));
      if (!busy) return Annotate(Refused(*reply), from);
      failure = absl::UnavailableError(absl::StrCat(from, ": HTTP ", reply->code));
      wait = std::max(wait, ReadRetryAfter(*reply, clock_.Now()).value_or(absl::ZeroDuration()));
    }
    if (clock_.Monotonic() + wait - begun > credential_.retry_limit) {
      return absl::UnavailableError(failure.message());
    }
    HW_RETURN_IF_ERROR(Annotate(pauses_.Wait(wait, stop_), from));
    backoff = std::min(backoff * 2, kWaitMax);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokens>> MakeTokens(Credential credential, const Clock& clock,
                                                   Pauses& pauses, const std::atomic<bool>* stop) {
  const bool by_metadata = credential.client_secret.empty() && credential.certificate.empty();
  if (!by_metadata && (credential.tenant_id.empty() || credential.client_id.empty())) {
    return absl::InvalidArgumentError(
        "a secret or a certificate is of an application: give tenant_id and client_id too");
  }
  if (!credential.client_secret.empty() && !credential.certificate.empty()) {
    return absl::InvalidArgumentError(
        "a credential has a secret or a certificate, not both: leave one out");
  }
  if (!credential.certificate.empty()) {
    // Now, and not when the first token is wanted.
    const absl::Status pair = SignPs256(credential.certificate_key, "").status();
    if (!pair.ok()) return Annotate(pair, "the credential's certificate_key");
    HW_RETURN_IF_ERROR(
        Annotate(CertificateThumbprint(credential.certificate).status(), "the credential"));
  }
  while (absl::EndsWith(credential.authority, "/")) credential.authority.pop_back();
  HW_ASSIGN_OR_RETURN(WebAddress place,
                      ParseWebAddress(by_metadata ? credential.metadata : credential.authority));
  if (!by_metadata && !place.tls) {
    return absl::InvalidArgumentError(
        absl::StrCat("the authority must be https://, not \"", credential.authority, "\""));
  }
  return std::make_unique<EntraTokens>(std::move(credential), std::move(place), clock, pauses,
                                       stop);
}

}  // namespace homeward::azure
