#include "common/azure/blob_container.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "common/azure/crc64.h"
#include "common/azure/shared_key.h"
#include "common/azure/storage_reply.h"
#include "common/exec/thread_name.h"
#include "common/status/status_macros.h"
#include "common/tls/identity.h"

namespace homeward::azure {
namespace {

constexpr int kHttpsPort = 443;
constexpr absl::Duration kLook = absl::Milliseconds(100);  // whether it is cancelled
constexpr absl::string_view kScheme = "https://";

std::string Encode(absl::string_view text, absl::string_view also) {
  std::string out;
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || absl::StrContains("-._~", c) || absl::StrContains(also, c)) {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string Crc64Header(const Pieces& content) {
  uint64_t crc = 0;
  for (const absl::string_view piece : content) crc = Crc64(piece, crc);
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(crc >> (8 * i)));
  return absl::Base64Escape(bytes);
}

void AddMetadata(const Metadata& metadata, std::map<std::string, std::string>* headers) {
  for (const auto& [name, value] : metadata) (*headers)[absl::StrCat("x-ms-meta-", name)] = value;
}

void AddLease(absl::string_view lease_id, std::map<std::string, std::string>* headers) {
  if (!lease_id.empty()) (*headers)["x-ms-lease-id"] = std::string(lease_id);
}

std::map<std::string, std::string> QueryOf(const std::string& snapshot) {
  if (snapshot.empty()) return {};
  return {{"snapshot", snapshot}};
}

std::string RangeOf(uint64_t offset, uint64_t bytes) {
  return absl::StrCat("bytes=", offset, "-", offset + bytes - 1);
}

absl::StatusOr<std::string> EtagOf(const absl::StatusOr<HttpsReply>& reply) {
  HW_RETURN_IF_ERROR(reply.status());
  const auto it = reply->headers.find("etag");
  if (it == reply->headers.end()) return absl::InternalError("the reply has no ETag");
  return it->second;
}

// A marker that does not move on would be followed for ever.
absl::Status CheckMarker(const std::string& before, const std::string& marker) {
  if (marker.empty() || marker != before) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the marker ", marker, " leads to itself"));
}

// Whether the message has Azure's code. Codes are in it as words of their own.
bool HasCode(const absl::Status& status, absl::string_view code) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(status.message(), absl::ByAnyChar(" ,:"));
  return absl::c_linear_search(words, code);
}

bool IsAddress(absl::string_view host) {
  return host == "localhost" || absl::StrContains(host, ':') ||
         absl::c_all_of(host, [](char c) { return absl::ascii_isdigit(c) || c == '.'; });
}

// Whole puts: content in pieces that Azure takes, a range that is cleared at once.
std::vector<PageWrite> Pieces(const std::vector<PageWrite>& writes) {
  std::vector<PageWrite> pieces;
  for (const PageWrite& write : writes) {
    if (write.content.empty()) {
      pieces.push_back(write);
      continue;
    }
    for (uint64_t at = 0; at < write.bytes; at += kPutBytesMax) {
      const uint64_t bytes = std::min(kPutBytesMax, write.bytes - at);
      pieces.push_back({write.blob, write.offset + at, write.content.Part(at, bytes), bytes});
    }
  }
  return pieces;
}

HttpsOptions ClientOptions(const BlobContainerOptions& options, const ContainerAddress& address) {
  HttpsOptions https;
  https.address = address.host;
  https.proxy = options.proxy;
  https.trusted = options.trusted;
  https.trust_as_host = true;
  https.connections_max = options.puts_max + 2;
  return https;
}

}  // namespace

absl::StatusOr<ContainerAddress> ParseContainerUrl(absl::string_view url) {
  const auto wrong = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", url.substr(0, url.find('?')), "\" is no address of a container, since ",
                     why, ": give it as \"https://ACCOUNT.blob.core.windows.net/CONTAINER\""));
  };
  if (!absl::StartsWith(url, kScheme)) return wrong("it does not begin with https://");
  if (absl::StrContains(url, '?') || absl::StrContains(url, '@'))
    return wrong("it has a signature or a name in it, which belongs in a file of its own");
  const std::vector<std::string> parts =
      absl::StrSplit(absl::StripSuffix(url.substr(kScheme.size()), "/"), '/');
  const std::string& host = parts[0];
  const bool has_port =
      host.rfind(':') != host.npos && (host.rfind(']') == host.npos || host.back() != ']');
  const absl::StatusOr<HostPort> address =
      ParseHostPort(has_port ? host : absl::StrCat(host, ":", kHttpsPort));
  if (!address.ok()) return wrong(address.status().message());
  ContainerAddress out;
  out.host = *address;
  const bool account_in_path = IsAddress(out.host.host);
  const size_t names = account_in_path ? 2 : 1;
  if (parts.size() != names + 1) {
    return wrong(account_in_path ? "after an address come the account and the container"
                                 : "it does not end with one container");
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].empty() ||
        !absl::c_all_of(parts[i], [](char c) { return absl::ascii_isalnum(c) || c == '-'; }))
      return wrong("names have letters, digits and '-' only");
    absl::StrAppend(&out.path, "/", parts[i]);
  }
  out.account = account_in_path ? parts[1] : out.host.host.substr(0, out.host.host.find('.'));
  return out;
}

absl::StatusOr<std::unique_ptr<BlobContainer>> BlobContainer::Open(BlobContainerOptions options,
                                                                   const Clock& clock) {
  HW_ASSIGN_OR_RETURN(ContainerAddress address, ParseContainerUrl(options.url));
  std::unique_ptr<BlobContainer> container(
      new BlobContainer(std::move(options), std::move(address), clock));
  const StorageCredential& credential = container->options_.credential;
  if (const auto* const key = std::get_if<AccountKey>(&credential)) {
    HW_ASSIGN_OR_RETURN(container->account_key_, DecodeAccountKey(key->base64));
  } else if (const auto* const sas = std::get_if<SharedAccessSignature>(&credential)) {
    HW_ASSIGN_OR_RETURN(container->signature_, CheckSharedAccessSignature(sas->token));
  }
  return container;
}

BlobContainer::BlobContainer(BlobContainerOptions options, ContainerAddress address,
                             const Clock& clock)
    : options_(std::move(options)),
      address_(std::move(address)),
      clock_(clock),
      client_(ClientOptions(options_, address_)) {}

bool BlobContainer::Wait(absl::Duration duration) {
  absl::Mutex mutex;
  const absl::Duration end = clock_.Monotonic() + duration;
  bool never = false;
  for (absl::Duration left = duration; left > absl::ZeroDuration();
       left = end - clock_.Monotonic()) {
    if (is_cancelled()) return false;
    absl::MutexLock lock(&mutex);
    mutex.AwaitWithTimeout(absl::Condition(&never), std::min(left, kLook));
  }
  return !is_cancelled();
}

absl::Status BlobContainer::Authorise(const Request& request, HttpsRequest* https) {
  https->headers["x-ms-version"] = kStorageApiVersion;
  https->headers["x-ms-date"] =
      absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", clock_.Now(), absl::UTCTimeZone());
  if (auto* const* const source = std::get_if<TokenSource*>(&options_.credential)) {
    HW_ASSIGN_OR_RETURN(const std::string token, (*source)->Token(kStorageResource));
    https->headers["Authorization"] = absl::StrCat("Bearer ", token);
  } else if (!account_key_.empty()) {
    RequestToSign sign;
    sign.method = std::string(HttpsMethodName(request.method));
    sign.headers = https->headers;
    sign.content_bytes = request.content.size();
    sign.path = https->path.substr(0, https->path.find('?'));
    sign.query = request.query;
    https->headers["Authorization"] = SharedKeyAuthorization(sign, address_.account, account_key_);
  }
  return absl::OkStatus();
}

BlobContainer::Attempt BlobContainer::SendOnce(const Request& request) {
  HttpsRequest https;
  https.path = address_.path;
  if (!request.blob.empty()) absl::StrAppend(&https.path, "/", Encode(request.blob, "/"));
  std::vector<std::string> query;
  for (const auto& [name, value] : request.query)
    query.push_back(absl::StrCat(name, "=", Encode(value, "")));
  if (!signature_.empty()) query.push_back(signature_);
  if (!query.empty()) absl::StrAppend(&https.path, "?", absl::StrJoin(query, "&"));
  https.headers = request.headers;
  https.content = request.content;
  https.limit = options_.request_limit;
  https.cancelled = options_.cancelled;
  https.once = request.once;
  const absl::Status authorised = Authorise(request, &https);
  if (!authorised.ok()) return {authorised, absl::IsUnavailable(authorised), {}};
  absl::StatusOr<HttpsReply> reply = client_.Call(request.method, https);
  if (!reply.ok()) {
    const bool may_pass =
        absl::IsUnavailable(reply.status()) || absl::IsDeadlineExceeded(reply.status());
    return {std::move(reply), may_pass, {}};
  }
  Attempt attempt = {std::move(reply), false, {}};
  attempt.may_pass = MayPass(*attempt.reply);
  attempt.asked_for = ReadRetryAfter(*attempt.reply, clock_.Now()).value_or(absl::ZeroDuration());
  return attempt;
}

absl::StatusOr<HttpsReply> BlobContainer::Repeat(const std::string& blob,
                                                 const std::function<Attempt()>& attempt) {
  const absl::Duration begin = clock_.Monotonic();
  std::optional<RetrySchedule> schedule;
  const std::string name =
      absl::StrCat(kScheme, FormatHostPort(address_.host), address_.path, "/", blob);
  for (int attempts = 1;; ++attempts) {
    if (is_cancelled()) return absl::CancelledError(absl::StrCat(name, ": cancelled"));
    Attempt ended = attempt();
    const absl::Status status = ended.reply.ok() ? StatusOf(*ended.reply) : ended.reply.status();
    if (status.ok()) return std::move(ended.reply);
    if (!ended.may_pass) return Annotate(status, name);
    if (!schedule.has_value()) schedule.emplace(options_.retry, begin, options_.seed + repeats_++);
    const auto wait = schedule->Next(clock_.Monotonic(), ended.asked_for);
    if (!wait.has_value()) {
      const absl::StatusCode code =
          absl::IsDeadlineExceeded(status) ? absl::StatusCode::kUnavailable : status.code();
      return absl::Status(
          code, absl::StrCat(name, ": ", status.message(), "; tried ", attempts, " times in ",
                             absl::FormatDuration(clock_.Monotonic() - begin)));
    }
    if (!Wait(*wait)) return absl::CancelledError(absl::StrCat(name, ": cancelled"));
  }
}

absl::StatusOr<HttpsReply> BlobContainer::Send(const Request& request) {
  return Repeat(request.blob, [&] { return SendOnce(request); });
}

absl::StatusOr<std::string> BlobContainer::Create(const std::string& blob, uint64_t bytes,
                                                  const Metadata& metadata) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  HW_RETURN_IF_ERROR(CheckBlobBytes(bytes));
  HW_RETURN_IF_ERROR(CheckMetadata(metadata));
  Request request;
  request.method = HttpsMethod::kPut;
  request.blob = blob;
  request.headers = {{"x-ms-blob-type", "PageBlob"},
                     {"x-ms-blob-content-length", absl::StrCat(bytes)},
                     {"If-None-Match", "*"}};
  AddMetadata(metadata, &request.headers);
  const absl::StatusOr<HttpsReply> reply = Send(request);
  // One that is leased says so before it says that it exists.
  if (!absl::IsAlreadyExists(reply.status()) && !absl::IsAborted(reply.status()))
    return EtagOf(reply);
  const absl::StatusOr<BlobProperties> there = Properties(blob, "");
  if (there.ok() && there->bytes == bytes && there->metadata == metadata) return there->etag;
  return absl::AlreadyExistsError(reply.status().message());
}

absl::StatusOr<std::vector<BlobProperties>> BlobContainer::List(absl::string_view prefix) {
  std::vector<BlobProperties> all;
  Request request;
  request.query = {{"restype", "container"},
                   {"comp", "list"},
                   {"include", "snapshots,metadata"},
                   {"maxresults", absl::StrCat(options_.list_results_max)}};
  if (!prefix.empty()) request.query["prefix"] = std::string(prefix);
  do {
    HW_ASSIGN_OR_RETURN(const HttpsReply reply, Send(request));
    HW_ASSIGN_OR_RETURN(BlobPage page, ParseBlobPage(reply.body));
    absl::c_move(page.blobs, std::back_inserter(all));
    HW_RETURN_IF_ERROR(CheckMarker(request.query["marker"], page.next_marker));
    request.query["marker"] = page.next_marker;
  } while (!request.query["marker"].empty());
  absl::c_sort(all, [](const BlobProperties& a, const BlobProperties& b) {
    return std::make_tuple(absl::string_view(a.name), a.snapshot.empty(),
                           absl::string_view(a.snapshot)) <
           std::make_tuple(absl::string_view(b.name), b.snapshot.empty(),
                           absl::string_view(b.snapshot));
  });
  return all;
}

absl::StatusOr<BlobProperties> BlobContainer::Properties(const std::string& blob,
                                                         const std::string& snapshot) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  Request request;
  request.method = HttpsMethod::kHead;
  request.blob = blob;
  request.query = QueryOf(snapshot);
  HW_ASSIGN_OR_RETURN(const HttpsReply reply, Send(request));
  return ReadProperties(blob, snapshot, reply);
}

absl::Status BlobContainer::LeaseRequest(const std::string& blob,
                                         const std::map<std::string, std::string>& headers) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  Request request;
  request.method = HttpsMethod::kPut;
  request.blob = blob;
  request.query = {{"comp", "lease"}};
  request.headers = headers;
  return Send(request).status();
}

absl::Status BlobContainer::Lease(const std::string& blob, const std::string& lease_id) {
  return LeaseRequest(blob, {{"x-ms-lease-action", "acquire"},
                             {"x-ms-lease-duration", "-1"},
                             {"x-ms-proposed-lease-id", lease_id}});
}

absl::Status BlobContainer::BreakLease(const std::string& blob) {
  const absl::Status status =
      LeaseRequest(blob, {{"x-ms-lease-action", "break"}, {"x-ms-lease-break-period", "0"}});
  const bool is_none =
      HasCode(status, "LeaseNotPresentWithLeaseOperation") || HasCode(status, "LeaseAlreadyBroken");
  return is_none ? absl::OkStatus() : status;
}

absl::Status BlobContainer::ReleaseLease(const std::string& blob, const std::string& lease_id) {
  const absl::Status status =
      LeaseRequest(blob, {{"x-ms-lease-action", "release"}, {"x-ms-lease-id", lease_id}});
  if (!absl::IsAborted(status)) return status;
  // It may have been released by a request whose reply was lost.
  const absl::StatusOr<BlobProperties> there = Properties(blob, "");
  HW_RETURN_IF_ERROR(there.status());
  return there->leased ? status : absl::OkStatus();
}

absl::Status BlobContainer::Put(const PageWrite& write, const std::string& lease_id) {
  Request request;
  request.method = HttpsMethod::kPut;
  request.blob = write.blob;
  request.query = {{"comp", "page"}};
  request.headers = {{"x-ms-range", RangeOf(write.offset, write.bytes)},
                     {"x-ms-page-write", write.content.empty() ? "clear" : "update"}};
  if (!write.content.empty()) {
    request.headers["Content-Type"] = "application/octet-stream";
    request.headers["x-ms-content-crc64"] = Crc64Header(write.content);
  }
  request.content = write.content;
  AddLease(lease_id, &request.headers);
  return Repeat(write.blob, [&] { return PutOnce(&request, lease_id); }).status();
}

BlobContainer::Attempt BlobContainer::KnowSequence(const std::string& blob,
                                                   const std::string& lease_id, uint64_t* number) {
  absl::MutexLock one_at_a_time(&sequence_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    const auto it = sequence_of_blob_.find(blob);
    if (it != sequence_of_blob_.end()) {
      *number = it->second;
      return {HttpsReply{200, {}, "", false}, false, {}};
    }
  }
  Request increase;
  increase.method = HttpsMethod::kPut;
  increase.blob = blob;
  increase.query = {{"comp", "properties"}};
  increase.headers["x-ms-sequence-number-action"] = "increment";
  AddLease(lease_id, &increase.headers);
  Attempt increased = SendOnce(increase);
  if (!increased.reply.ok() || !StatusOf(*increased.reply).ok()) return increased;
  if (!absl::SimpleAtoi(increased.reply->headers["x-ms-blob-sequence-number"], number))
    return {absl::InternalError("the reply has no sequence number"), false, {}};
  absl::MutexLock lock(&mutex_);
  sequence_of_blob_[blob] = *number;
  return increased;
}

BlobContainer::Attempt BlobContainer::PutOnce(Request* request, const std::string& lease_id) {
  uint64_t number = 0;
  Attempt known = KnowSequence(request->blob, lease_id, &number);
  if (!known.reply.ok() || !StatusOf(*known.reply).ok()) return known;
  request->headers["x-ms-if-sequence-number-eq"] = absl::StrCat(number);
  Attempt attempt = SendOnce(*request);
  const bool in_doubt =
      !attempt.reply.ok() || attempt.reply->code >= 500 || attempt.reply->maybe_sent_twice;
  const bool is_another =
      attempt.reply.ok() && ErrorCodeOf(*attempt.reply) == "SequenceNumberConditionNotMet";
  if (in_doubt || is_another) {
    absl::MutexLock lock(&mutex_);
    const auto it = sequence_of_blob_.find(request->blob);
    if (it != sequence_of_blob_.end() && it->second == number) sequence_of_blob_.erase(it);
  }
  attempt.may_pass |= is_another;
  return attempt;
}

absl::Status BlobContainer::Write(const std::vector<PageWrite>& writes,
                                  const std::map<std::string, std::string>& lease_of_blob) {
  HW_RETURN_IF_ERROR(CheckWrites(writes));
  const std::vector<PageWrite> pieces = Pieces(writes);
  absl::Mutex mutex;
  absl::Status first_error;  // guarded by mutex
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    while (!failed) {
      const size_t i = next++;
      if (i >= pieces.size()) return;
      const auto lease = lease_of_blob.find(pieces[i].blob);
      const absl::Status status = Put(pieces[i], lease == lease_of_blob.end() ? "" : lease->second);
      if (status.ok()) continue;
      absl::MutexLock lock(&mutex);
      if (!failed.exchange(true)) first_error = status;
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(options_.puts_max, pieces.size()); ++i) {
    threads.emplace_back(work);
    NameThread(&threads.back(), "put-pages");
  }
  work();
  for (std::thread& thread : threads) thread.join();
  return first_error;
}

absl::StatusOr<std::string> BlobContainer::SetMetadata(const std::string& blob,
                                                       const Metadata& metadata,
                                                       absl::string_view if_match,
                                                       absl::string_view lease_id) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  HW_RETURN_IF_ERROR(CheckMetadata(metadata));
  Request request;
  request.method = HttpsMethod::kPut;
  request.blob = blob;
  request.query = {{"comp", "metadata"}};
  if (!if_match.empty()) request.headers["If-Match"] = std::string(if_match);
  AddMetadata(metadata, &request.headers);
  AddLease(lease_id, &request.headers);
  const absl::StatusOr<HttpsReply> reply = Send(request);
  if (!HasCode(reply.status(), "ConditionNotMet")) return EtagOf(reply);
  // The condition may fail because of this very request, sent before, whose reply was lost.
  const absl::StatusOr<BlobProperties> there = Properties(blob, "");
  HW_RETURN_IF_ERROR(there.status());
  return there->metadata == metadata ? absl::StatusOr<std::string>(there->etag) : reply.status();
}

absl::StatusOr<std::string> BlobContainer::FindSnapshot(const std::string& blob,
                                                        const Metadata& metadata) {
  HW_ASSIGN_OR_RETURN(const std::vector<BlobProperties> all, List(blob));
  for (const BlobProperties& one : all) {
    if (one.name == blob && !one.snapshot.empty() && one.metadata == metadata) return one.snapshot;
  }
  return "";
}

absl::StatusOr<std::string> BlobContainer::Snapshot(const std::string& blob,
                                                    const Metadata& metadata,
                                                    absl::string_view lease_id) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  HW_RETURN_IF_ERROR(CheckMetadata(metadata));
  if (metadata.empty())
    return absl::InvalidArgumentError(absl::StrCat(blob, ": a snapshot needs metadata"));
  Request request;
  request.method = HttpsMethod::kPut;
  request.blob = blob;
  request.query = {{"comp", "snapshot"}};
  AddMetadata(metadata, &request.headers);
  AddLease(lease_id, &request.headers);
  request.once = true;  // each makes another
  bool first = true;
  std::string made;
  const absl::StatusOr<HttpsReply> reply = Repeat(blob, [&]() -> Attempt {
    if (!std::exchange(first, false)) {
      const absl::StatusOr<std::string> found = FindSnapshot(blob, metadata);
      if (!found.ok()) return {found.status(), false, {}};
      made = *found;
      if (!made.empty()) {
        HttpsReply there;
        there.code = 200;
        return {std::move(there), false, {}};
      }
    }
    return SendOnce(request);
  });
  HW_RETURN_IF_ERROR(reply.status());
  if (!made.empty()) return made;
  const auto id = reply->headers.find("x-ms-snapshot");
  if (id == reply->headers.end())
    return absl::InternalError(absl::StrCat(blob, ": the reply has no id of the snapshot"));
  return id->second;
}

absl::Status BlobContainer::Delete(const std::string& blob, const std::string& snapshot,
                                   absl::string_view lease_id) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  Request request;
  request.method = HttpsMethod::kDelete;
  request.blob = blob;
  request.query = QueryOf(snapshot);
  if (snapshot.empty()) AddLease(lease_id, &request.headers);
  absl::Status status = Send(request).status();
  if (!snapshot.empty() && !lease_id.empty() && HasCode(status, "LeaseIdMissing")) {
    AddLease(lease_id, &request.headers);
    status = Send(request).status();
  }
  return HasCode(status, "BlobNotFound") ? absl::OkStatus() : status;
}

absl::StatusOr<std::string> BlobContainer::Read(const std::string& blob,
                                                const std::string& snapshot, uint64_t offset,
                                                uint64_t bytes) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  std::string content;
  while (content.size() < bytes) {
    const uint64_t at = offset + content.size();
    const uint64_t wanted = std::min(kPutBytesMax, bytes - content.size());
    Request request;
    request.blob = blob;
    request.query = QueryOf(snapshot);
    request.headers["x-ms-range"] = RangeOf(at, wanted);
    HW_ASSIGN_OR_RETURN(const HttpsReply reply, Send(request));
    if (reply.body.size() != wanted) {
      return absl::InvalidArgumentError(absl::StrCat(
          blob, ": ", wanted, " bytes at ", at, " are wanted, and there are ", reply.body.size()));
    }
    content += reply.body;
  }
  return content;
}

absl::StatusOr<ExtentSet> BlobContainer::Ranges(const std::string& blob,
                                                const std::string& snapshot) {
  HW_RETURN_IF_ERROR(CheckBlobName(blob));
  ExtentSet ranges;
  Request request;
  request.blob = blob;
  request.query = QueryOf(snapshot);
  request.query["comp"] = "pagelist";
  for (;;) {
    HW_ASSIGN_OR_RETURN(const HttpsReply reply, Send(request));
    HW_ASSIGN_OR_RETURN(const RangePage page, ParseRangePage(reply.body));
    ranges.Add(page.ranges);
    if (page.next_marker.empty()) return ranges;
    HW_RETURN_IF_ERROR(CheckMarker(request.query["marker"], page.next_marker));
    request.query["marker"] = page.next_marker;
  }
}

}  // namespace homeward::azure
