#include "common/azure/arm.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/azure/address.h"
#include "common/azure/arm_error.h"
#include "common/azure/json.h"
#include "common/azure/operation.h"
#include "common/azure/resources.h"
#include "common/azure/retry.h"
#include "common/status/status_macros.h"

namespace homeward::azure {
namespace {

constexpr char kCompute[] = "Microsoft.Compute";
constexpr char kNetworking[] = "Microsoft.Network";
constexpr char kStorage[] = "Microsoft.Storage";
constexpr char kVms[] = "virtualMachines";
constexpr char kDisks[] = "disks";
constexpr char kInterfaces[] = "networkInterfaces";
constexpr size_t kPagesMax = 1000;
// With fewer requests left, operations are looked at less often.
constexpr int64_t kFewLeft = 100;
// Nor ever more often than this, also where Azure asks for no wait at all.
constexpr absl::Duration kPollMin = absl::Milliseconds(100);

// What is asked: a path with query, and what it is called in messages.
struct Target {
  std::string path;
  std::string name;
};

std::string Query(absl::string_view api_version) {
  return absl::StrCat("?api-version=", api_version);
}

}  // namespace

struct Arm::Core {
  ArmOptions options;
  WebAddress endpoint;
  Tokens& tokens;
  const Clock& clock;
  Pauses& pauses;
  HttpsClient client;

  absl::Mutex mutex;
  // Throttled until then (monotonic).
  absl::Duration closed_until ABSL_GUARDED_BY(mutex) = absl::ZeroDuration();
  int64_t left ABSL_GUARDED_BY(mutex) = -1;

  Core(ArmOptions o, WebAddress e, Tokens& t, const Clock& c, Pauses& p)
      : options(std::move(o)),
        endpoint(std::move(e)),
        tokens(t),
        clock(c),
        pauses(p),
        client(ClientOptions(options, endpoint)) {}

  static HttpsOptions ClientOptions(const ArmOptions& options, const WebAddress& endpoint) {
    HttpsOptions out;
    out.address = endpoint.host;
    out.proxy = options.proxy;
    out.trusted = options.trusted;
    out.trust_as_host = true;
    return out;
  }

  // When a call began, and may last until.
  struct Frame {
    ArmCall call;
    absl::Duration end;
  };
  Frame Begin(ArmCall call) const { return {call, clock.Monotonic() + call.limit}; }

  Target Resource(const char* provider, const char* type, absl::string_view group,
                  absl::string_view name, absl::string_view version,
                  absl::string_view action = "") const {
    std::string path = absl::StrCat("/subscriptions/", Encoded(options.subscription),
                                    "/resourceGroups/", Encoded(group), "/providers/", provider,
                                    "/", type, name.empty() ? "" : "/", Encoded(name), action);
    return {absl::StrCat(path, Query(version)),
            absl::StrCat(type, name.empty() ? absl::StrCat(" of group ", group)
                                            : absl::StrCat(" ", name, " in group ", group))};
  }

  // The path of a URL that Azure gave. The token goes nowhere but to the endpoint.
  absl::StatusOr<std::string> PathOf(const std::string& url) const;
  absl::Status Pause(absl::Duration time, const Frame& frame, absl::string_view what);
  // Waits while requests of this caller are not taken.
  absl::Status AwaitOpen(const Frame& frame, absl::string_view what);
  void Note(const HttpsReply& reply);

  // One request, tried again as long as that may help. Any reply that is not transient is returned;
  // one that is, as its status, when it lasts.
  absl::StatusOr<HttpsReply> Send(HttpsMethod method, const std::string& path,
                                  const std::string& body, absl::string_view what,
                                  const Frame& frame);
  absl::StatusOr<Json> Get(const Target& target, const ArmCall& call);
  // The body of the result; empty where there is none.
  absl::StatusOr<std::string> Operate(HttpsMethod method, const Target& target,
                                      const std::string& body, const ArmCall& call);
  absl::StatusOr<std::string> Follow(Operation operation, absl::string_view what,
                                     const Frame& frame);
  absl::Status Do(HttpsMethod method, const Target& target, const ArmCall& call) {
    return Operate(method, target, "", call).status();
  }

  template <typename Out>
  absl::StatusOr<Out> GetAs(const Target& target, const ArmCall& call) {
    HW_ASSIGN_OR_RETURN(const Json json, Get(target, call));
    Out out;
    Read(json, out);
    return out;
  }
  template <typename Out>
  absl::StatusOr<Out> Put(const Target& target, const Json& body, const ArmCall& call) {
    HW_ASSIGN_OR_RETURN(const std::string result,
                        Operate(HttpsMethod::kPut, target, Dump(body), call));
    const absl::StatusOr<Json> json = ParseJson(result);
    if (!json.ok()) return Annotate(json.status(), target.name);
    Out out;
    Read(*json, out);
    return out;
  }
  template <typename Out>
  absl::StatusOr<std::vector<Out>> List(const Target& target, const ArmCall& call);
  absl::StatusOr<Target> ById(absl::string_view id, const char* provider,
                              const std::vector<std::string>& types,
                              absl::string_view version) const;
};

absl::StatusOr<std::string> Arm::Core::PathOf(const std::string& url) const {
  if (absl::StartsWith(url, "/")) return url;
  HW_ASSIGN_OR_RETURN(const WebAddress address, ParseWebAddress(url));
  if (address.tls != endpoint.tls || address.host.host != endpoint.host.host ||
      address.host.port != endpoint.host.port) {
    return absl::InternalError(
        absl::StrCat(options.endpoint, " points to another host, ", FormatHostPort(address.host),
                     ", which is not followed: is the endpoint that of Azure Resource Manager?"));
  }
  return address.path;
}

absl::Status Arm::Core::Pause(absl::Duration time, const Frame& frame, absl::string_view what) {
  if (clock.Monotonic() + time > frame.end) {
    return absl::DeadlineExceededError(
        absl::StrCat(what, ": not ended within ", absl::FormatDuration(frame.call.limit),
                     ". What was begun goes on: look at what is so before trying again"));
  }
  return Annotate(pauses.Wait(time, frame.call.stop), what);
}

absl::Status Arm::Core::AwaitOpen(const Frame& frame, absl::string_view what) {
  while (true) {
    absl::Duration wait;
    {
      absl::MutexLock lock(&mutex);
      wait = closed_until - clock.Monotonic();
    }
    if (wait <= absl::ZeroDuration()) return absl::OkStatus();
    HW_RETURN_IF_ERROR(Pause(wait, frame, what));
  }
}

void Arm::Core::Note(const HttpsReply& reply) {
  const int64_t now_left = RequestsLeft(reply);
  absl::MutexLock lock(&mutex);
  if (now_left >= 0) left = now_left;
}

absl::StatusOr<HttpsReply> Arm::Core::Send(HttpsMethod method, const std::string& path,
                                           const std::string& body, absl::string_view what,
                                           const Frame& frame) {
  const absl::Duration begun = clock.Monotonic();
  absl::Duration backoff = options.retry_first;
  bool had_new_token = false;
  while (true) {
    HW_RETURN_IF_ERROR(AwaitOpen(frame, what));
    if (frame.call.stop != nullptr && frame.call.stop->load())
      return absl::CancelledError(absl::StrCat(what, ": cancelled"));
    absl::StatusOr<std::string> token = tokens.Token(options.audience);
    if (!token.ok()) return Annotate(token.status(), what);
    HttpsRequest request;
    request.path = path;
    request.headers = {{"Authorization", absl::StrCat("Bearer ", *token)},
                       {"Accept", "application/json"}};
    if (method == HttpsMethod::kPut || method == HttpsMethod::kPost)
      request.headers["Content-Type"] = "application/json";
    request.body = body;
    request.limit =
        std::clamp(frame.end - clock.Monotonic(), absl::Milliseconds(1), options.request_limit);
    request.cancelled = frame.call.cut != nullptr ? frame.call.cut : frame.call.stop;
    absl::StatusOr<HttpsReply> reply = client.Call(method, request);

    absl::Status failure;
    absl::optional<absl::Duration> asked;
    if (!reply.ok()) {
      failure = Annotate(reply.status(), what);
      if (!absl::IsUnavailable(failure) && !absl::IsDeadlineExceeded(failure)) return failure;
    } else {
      Note(*reply);
      if (reply->code == 401 && !had_new_token) {
        // It may have been revoked, or this host's clock is behind.
        had_new_token = true;
        tokens.Forget(options.audience, *token);
        continue;
      }
      if (reply->code < 400) return reply;
      const ArmError error = ReadArmError(*reply);
      if (!IsTransient(error)) return reply;
      failure = ToStatus(error, what);
      asked = ReadRetryAfter(*reply, clock.Now());
      if (asked.has_value()) *asked = std::min(*asked, options.retry_after_max);
      if (asked.has_value() && IsThrottled(error)) {
        absl::MutexLock lock(&mutex);
        closed_until = std::max(closed_until, clock.Monotonic() + *asked);
      }
    }
    // Jitter is added to what Azure asks for, so that many callers do not come back at once.
    const double jitter = pauses.Fraction();
    const absl::Duration wait =
        asked.has_value() ? *asked + backoff * (jitter / 4) : backoff * (0.5 + jitter / 2);
    backoff = std::min(backoff * 2, options.retry_max);
    const absl::Duration spent = clock.Monotonic() - begun;
    if (spent + wait > options.retry_limit) {
      return Annotate(failure, absl::StrCat("tried for ", absl::FormatDuration(spent)));
    }
    if (clock.Monotonic() + wait > frame.end) return failure;
    HW_RETURN_IF_ERROR(Pause(wait, frame, what));
  }
}

absl::StatusOr<Json> Arm::Core::Get(const Target& target, const ArmCall& call) {
  const std::string what = absl::StrCat("read ", target.name);
  HW_ASSIGN_OR_RETURN(const HttpsReply reply,
                      Send(HttpsMethod::kGet, target.path, "", what, Begin(call)));
  if (reply.code != 200) return ToStatus(ReadArmError(reply), what);
  absl::StatusOr<Json> json = ParseJson(reply.body);
  if (!json.ok()) return Annotate(json.status(), what);
  return json;
}

absl::StatusOr<std::string> Arm::Core::Operate(HttpsMethod method, const Target& target,
                                               const std::string& body, const ArmCall& call) {
  const Frame frame = Begin(call);
  const std::string what = absl::StrCat(HttpsMethodName(method), " ", target.name);
  HW_ASSIGN_OR_RETURN(const HttpsReply reply, Send(method, target.path, body, what, frame));
  const bool is_delete = method == HttpsMethod::kDelete;
  if (is_delete && reply.code == 404) {
    // A group that is not there is another thing than a resource that is not there: a typing error
    // must not look as if all was deleted.
    const ArmError error = ReadArmError(reply);
    if (error.code != "ResourceGroupNotFound" && error.code != "SubscriptionNotFound") return "";
  }
  if (reply.code >= 300) return ToStatus(ReadArmError(reply), what);
  absl::StatusOr<std::string> result =
      Follow(Operation(method, target.path, what, reply, clock.Now()), what, frame);
  // Deleted by another meanwhile.
  if (is_delete && absl::IsNotFound(result.status())) return "";
  return result;
}

absl::StatusOr<std::string> Arm::Core::Follow(Operation operation, absl::string_view what,
                                              const Frame& frame) {
  while (!operation.ended()) {
    absl::Duration wait = options.poll * (0.75 + pauses.Fraction() / 2);
    if (operation.wait().has_value())
      wait = std::clamp(*operation.wait(), kPollMin, options.retry_after_max);
    {
      absl::MutexLock lock(&mutex);
      if (left >= 0 && left < kFewLeft) wait = std::max(wait, options.retry_max);
    }
    HW_RETURN_IF_ERROR(Pause(wait, frame, what));
    HW_ASSIGN_OR_RETURN(const std::string path, PathOf(operation.url()));
    HW_ASSIGN_OR_RETURN(const HttpsReply reply, Send(HttpsMethod::kGet, path, "", what, frame));
    if (reply.code >= 300 && reply.code != 404 && reply.code != 410)
      return ToStatus(ReadArmError(reply), what);
    operation.Take(reply, clock.Now());
  }
  HW_RETURN_IF_ERROR(operation.status());
  if (operation.result_url().empty()) return operation.result();
  HW_ASSIGN_OR_RETURN(const std::string path, PathOf(operation.result_url()));
  HW_ASSIGN_OR_RETURN(HttpsReply reply, Send(HttpsMethod::kGet, path, "", what, frame));
  if (reply.code >= 300) return ToStatus(ReadArmError(reply), what);
  return reply.body.empty() ? operation.result() : std::move(reply.body);
}

template <typename Out>
absl::StatusOr<std::vector<Out>> Arm::Core::List(const Target& target, const ArmCall& call) {
  const Frame frame = Begin(call);
  const std::string what = absl::StrCat("list ", target.name);
  std::vector<Out> out;
  std::string path = target.path;
  for (size_t page = 0; page < kPagesMax; ++page) {
    HW_ASSIGN_OR_RETURN(const HttpsReply reply, Send(HttpsMethod::kGet, path, "", what, frame));
    if (reply.code != 200) return ToStatus(ReadArmError(reply), what);
    const absl::StatusOr<Json> json = ParseJson(reply.body);
    if (!json.ok()) return Annotate(json.status(), what);
    const Json& values = At(*json, {"value"});
    for (size_t i = 0; values.is_array() && i < values.size(); ++i)
      Read(values[i], out.emplace_back());
    const std::string next = TextAt(*json, {"nextLink"});
    if (next.empty()) return out;
    HW_ASSIGN_OR_RETURN(path, PathOf(next));
  }
  return absl::InternalError(absl::StrCat(what, ": more than ", kPagesMax, " pages"));
}

absl::StatusOr<Target> Arm::Core::ById(absl::string_view id, const char* provider,
                                       const std::vector<std::string>& types,
                                       absl::string_view version) const {
  HW_ASSIGN_OR_RETURN(const ResourceId parsed, ParseResourceId(id));
  bool fits =
      absl::EqualsIgnoreCase(parsed.provider, provider) && parsed.types.size() == types.size();
  for (size_t i = 0; fits && i < types.size(); ++i)
    fits = absl::EqualsIgnoreCase(parsed.types[i], types[i]);
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrCat(id, " is another kind of resource than ", provider, "/", types.back()));
  }
  ResourceId encoded = parsed;
  encoded.subscription = Encoded(parsed.subscription);
  encoded.group = Encoded(parsed.group);
  for (std::string& name : encoded.names) name = Encoded(name);
  return Target{absl::StrCat(FormatResourceId(encoded), Query(version)), std::string(id)};
}

absl::StatusOr<std::unique_ptr<Arm>> Arm::Open(ArmOptions options, Tokens& tokens,
                                               const Clock& clock, Pauses& pauses) {
  HW_ASSIGN_OR_RETURN(WebAddress endpoint, ParseWebAddress(options.endpoint));
  if (!endpoint.tls || endpoint.path != "/") {
    return absl::InvalidArgumentError(
        absl::StrCat("the endpoint of Azure Resource Manager must be https://HOST[:PORT], not \"",
                     options.endpoint, "\""));
  }
  if (options.subscription.empty())
    return absl::InvalidArgumentError("no subscription is named: give its id");
  return std::unique_ptr<Arm>(new Arm(
      std::make_unique<Core>(std::move(options), std::move(endpoint), tokens, clock, pauses)));
}

Arm::Arm(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Arm::~Arm() = default;

int64_t Arm::requests_left() const {
  absl::MutexLock lock(&core_->mutex);
  return core_->left;
}

std::string Arm::VmId(absl::string_view group, absl::string_view name) const {
  return FormatResourceId(
      {core_->options.subscription, std::string(group), kCompute, {kVms}, {std::string(name)}});
}
std::string Arm::DiskId(absl::string_view group, absl::string_view name) const {
  return FormatResourceId(
      {core_->options.subscription, std::string(group), kCompute, {kDisks}, {std::string(name)}});
}
std::string Arm::InterfaceId(absl::string_view group, absl::string_view name) const {
  return FormatResourceId({core_->options.subscription,
                           std::string(group),
                           kNetworking,
                           {kInterfaces},
                           {std::string(name)}});
}

absl::StatusOr<ResourceGroup> Arm::GetGroup(absl::string_view group, ArmCall call) {
  const Target target{
      absl::StrCat("/subscriptions/", Encoded(core_->options.subscription), "/resourcegroups/",
                   Encoded(group), Query(kArmVersions.resources)),
      absl::StrCat("resource group ", group)};
  return core_->GetAs<ResourceGroup>(target, call);
}

absl::StatusOr<Vm> Arm::GetVm(absl::string_view group, absl::string_view name, ArmCall call) {
  return core_->GetAs<Vm>(core_->Resource(kCompute, kVms, group, name, kArmVersions.compute), call);
}

absl::StatusOr<std::vector<Vm>> Arm::ListVms(absl::string_view group, ArmCall call) {
  return core_->List<Vm>(core_->Resource(kCompute, kVms, group, "", kArmVersions.compute), call);
}

absl::StatusOr<VmInstance> Arm::InstanceView(absl::string_view group, absl::string_view name,
                                             ArmCall call) {
  return core_->GetAs<VmInstance>(
      core_->Resource(kCompute, kVms, group, name, kArmVersions.compute, "/instanceView"), call);
}

absl::StatusOr<Vm> Arm::PutVm(absl::string_view group, absl::string_view name, const VmSpec& spec,
                              ArmCall call) {
  return core_->Put<Vm>(core_->Resource(kCompute, kVms, group, name, kArmVersions.compute),
                        ToJson(spec), call);
}

absl::Status Arm::PowerOff(absl::string_view group, absl::string_view name, bool at_once,
                           ArmCall call) {
  Target target = core_->Resource(kCompute, kVms, group, name, kArmVersions.compute, "/powerOff");
  if (at_once) absl::StrAppend(&target.path, "&skipShutdown=true");
  absl::StrAppend(&target.name, " (powerOff)");
  return core_->Do(HttpsMethod::kPost, target, call);
}

absl::Status Arm::Deallocate(absl::string_view group, absl::string_view name, ArmCall call) {
  Target target = core_->Resource(kCompute, kVms, group, name, kArmVersions.compute, "/deallocate");
  absl::StrAppend(&target.name, " (deallocate)");
  return core_->Do(HttpsMethod::kPost, target, call);
}

absl::Status Arm::Start(absl::string_view group, absl::string_view name, ArmCall call) {
  Target target = core_->Resource(kCompute, kVms, group, name, kArmVersions.compute, "/start");
  absl::StrAppend(&target.name, " (start)");
  return core_->Do(HttpsMethod::kPost, target, call);
}

absl::Status Arm::DeleteVm(absl::string_view group, absl::string_view name, ArmCall call) {
  return core_->Do(HttpsMethod::kDelete,
                   core_->Resource(kCompute, kVms, group, name, kArmVersions.compute), call);
}

absl::StatusOr<std::vector<VmSize>> Arm::VmSizes(absl::string_view region, ArmCall call) {
  const Target target{
      absl::StrCat("/subscriptions/", Encoded(core_->options.subscription), "/providers/", kCompute,
                   "/locations/", Encoded(region), "/vmSizes", Query(kArmVersions.compute)),
      absl::StrCat("VM sizes of region ", region)};
  return core_->List<VmSize>(target, call);
}

absl::StatusOr<Disk> Arm::GetDisk(absl::string_view group, absl::string_view name, ArmCall call) {
  return core_->GetAs<Disk>(core_->Resource(kCompute, kDisks, group, name, kArmVersions.disks),
                            call);
}

absl::StatusOr<std::vector<Disk>> Arm::ListDisks(absl::string_view group, ArmCall call) {
  return core_->List<Disk>(core_->Resource(kCompute, kDisks, group, "", kArmVersions.disks), call);
}

absl::StatusOr<Disk> Arm::PutDisk(absl::string_view group, absl::string_view name,
                                  const DiskSpec& spec, ArmCall call) {
  return core_->Put<Disk>(core_->Resource(kCompute, kDisks, group, name, kArmVersions.disks),
                          ToJson(spec), call);
}

absl::Status Arm::DeleteDisk(absl::string_view group, absl::string_view name, ArmCall call) {
  return core_->Do(HttpsMethod::kDelete,
                   core_->Resource(kCompute, kDisks, group, name, kArmVersions.disks), call);
}

absl::StatusOr<std::string> Arm::GrantAccess(absl::string_view group, absl::string_view name,
                                             absl::Duration validity, ArmCall call) {
  Target target =
      core_->Resource(kCompute, kDisks, group, name, kArmVersions.disks, "/beginGetAccess");
  absl::StrAppend(&target.name, " (beginGetAccess)");
  const Json body = {{"access", "Read"}, {"durationInSeconds", absl::ToInt64Seconds(validity)}};
  HW_ASSIGN_OR_RETURN(const std::string result,
                      core_->Operate(HttpsMethod::kPost, target, Dump(body), call));
  const absl::StatusOr<Json> json = ParseJson(result);
  if (!json.ok()) return Annotate(json.status(), target.name);
  // At the Location, or in what the operation itself tells.
  for (std::string url :
       {TextAt(*json, {"accessSAS"}), TextAt(*json, {"properties", "output", "accessSAS"})}) {
    if (!url.empty()) return url;
  }
  return absl::InternalError(absl::StrCat(target.name, ": the reply has no accessSAS"));
}

absl::Status Arm::RevokeAccess(absl::string_view group, absl::string_view name, ArmCall call) {
  Target target =
      core_->Resource(kCompute, kDisks, group, name, kArmVersions.disks, "/endGetAccess");
  absl::StrAppend(&target.name, " (endGetAccess)");
  return core_->Do(HttpsMethod::kPost, target, call);
}

absl::StatusOr<Interface> Arm::GetInterface(absl::string_view group, absl::string_view name,
                                            ArmCall call) {
  return core_->GetAs<Interface>(
      core_->Resource(kNetworking, kInterfaces, group, name, kArmVersions.network), call);
}

absl::StatusOr<std::vector<Interface>> Arm::ListInterfaces(absl::string_view group, ArmCall call) {
  return core_->List<Interface>(
      core_->Resource(kNetworking, kInterfaces, group, "", kArmVersions.network), call);
}

absl::StatusOr<Interface> Arm::PutInterface(absl::string_view group, absl::string_view name,
                                            const InterfaceSpec& spec, ArmCall call) {
  return core_->Put<Interface>(
      core_->Resource(kNetworking, kInterfaces, group, name, kArmVersions.network), ToJson(spec),
      call);
}

absl::Status Arm::DeleteInterface(absl::string_view group, absl::string_view name, ArmCall call) {
  return core_->Do(HttpsMethod::kDelete,
                   core_->Resource(kNetworking, kInterfaces, group, name, kArmVersions.network),
                   call);
}

absl::StatusOr<Subnet> Arm::GetSubnet(absl::string_view id, ArmCall call) {
  HW_ASSIGN_OR_RETURN(
      const Target target,
      core_->ById(id, kNetworking, {"virtualNetworks", "subnets"}, kArmVersions.network));
  return core_->GetAs<Subnet>(target, call);
}

absl::StatusOr<Network> Arm::GetNetwork(absl::string_view id, ArmCall call) {
  HW_ASSIGN_OR_RETURN(const Target target,
                      core_->ById(id, kNetworking, {"virtualNetworks"}, kArmVersions.network));
  return core_->GetAs<Network>(target, call);
}

absl::StatusOr<StorageAccount> Arm::GetStorageAccount(absl::string_view id, ArmCall call) {
  HW_ASSIGN_OR_RETURN(const Target target,
                      core_->ById(id, kStorage, {"storageAccounts"}, kArmVersions.storage));
  return core_->GetAs<StorageAccount>(target, call);
}

absl::StatusOr<std::vector<AnyResource>> Arm::ListTagged(absl::string_view tag,
                                                         absl::string_view value, ArmCall call) {
  // A quotation mark is written twice in a text of OData.
  const auto text = [](absl::string_view of) { return absl::StrReplaceAll(of, {{"'", "''"}}); };
  const std::string filter =
      absl::StrCat("tagName eq '", text(tag), "' and tagValue eq '", text(value), "'");
  const Target target{
      absl::StrCat("/subscriptions/", Encoded(core_->options.subscription), "/resources",
                   Query(kArmVersions.resources), "&$filter=", Encoded(filter)),
      absl::StrCat("resources with tag ", tag, " ", value)};
  return core_->List<AnyResource>(target, call);
}

}  // namespace homeward::azure
