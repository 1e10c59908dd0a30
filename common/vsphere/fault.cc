#include "common/vsphere/fault.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace homeward::vsphere {
namespace {

constexpr char kPayload[] = "type.homeward/vsphere.fault";

struct Meaning {
  const char* type;
  absl::StatusCode code;
};
constexpr Meaning kMeanings[] = {
    {"AlreadyExists", absl::StatusCode::kAlreadyExists},
    {"CannotAccessFile", absl::StatusCode::kNotFound},
    {"ConcurrentAccess", absl::StatusCode::kAborted},
    {"DuplicateName", absl::StatusCode::kAlreadyExists},
    {"FileAlreadyExists", absl::StatusCode::kAlreadyExists},
    {"FileLocked", absl::StatusCode::kFailedPrecondition},
    {"FileNotFound", absl::StatusCode::kNotFound},
    {"HostCommunication", absl::StatusCode::kUnavailable},
    {"HostNotConnected", absl::StatusCode::kUnavailable},
    {"HostNotReachable", absl::StatusCode::kUnavailable},
    {"InsufficientMemoryResourcesFault", absl::StatusCode::kResourceExhausted},
    {"InsufficientResourcesFault", absl::StatusCode::kResourceExhausted},
    {"InsufficientStandbyCpuResource", absl::StatusCode::kResourceExhausted},
    {"InsufficientStandbyMemoryResource", absl::StatusCode::kResourceExhausted},
    {"InvalidArgument", absl::StatusCode::kInvalidArgument},
    {"InvalidController", absl::StatusCode::kInvalidArgument},
    {"InvalidDatastore", absl::StatusCode::kFailedPrecondition},
    {"InvalidDatastorePath", absl::StatusCode::kInvalidArgument},
    {"InvalidDeviceSpec", absl::StatusCode::kInvalidArgument},
    {"InvalidLogin", absl::StatusCode::kUnauthenticated},
    {"InvalidName", absl::StatusCode::kInvalidArgument},
    {"InvalidPowerState", absl::StatusCode::kFailedPrecondition},
    {"InvalidProperty", absl::StatusCode::kInvalidArgument},
    {"InvalidRequest", absl::StatusCode::kInvalidArgument},
    {"InvalidState", absl::StatusCode::kFailedPrecondition},
    {"ManagedObjectNotFound", absl::StatusCode::kNotFound},
    {"MethodNotFound", absl::StatusCode::kUnimplemented},
    {"NoDiskSpace", absl::StatusCode::kResourceExhausted},
    {"NoPermission", absl::StatusCode::kPermissionDenied},
    {"NotAuthenticated", absl::StatusCode::kUnauthenticated},
    {"NotFound", absl::StatusCode::kNotFound},
    {"NotImplemented", absl::StatusCode::kUnimplemented},
    {"NotSupported", absl::StatusCode::kUnimplemented},
    {"RequestCanceled", absl::StatusCode::kCancelled},
    {"ResourceInUse", absl::StatusCode::kAborted},
    {"RestrictedVersion", absl::StatusCode::kPermissionDenied},
    {"TaskInProgress", absl::StatusCode::kAborted},
    {"Timedout", absl::StatusCode::kDeadlineExceeded},
    {"ToolsUnavailable", absl::StatusCode::kFailedPrecondition},
};

}  // namespace

absl::Status FaultToStatus(const std::string& type, const std::string& message) {
  const auto it = std::find_if(std::begin(kMeanings), std::end(kMeanings),
                               [&](const Meaning& one) { return type == one.type; });
  absl::Status status(
      it == std::end(kMeanings) ? absl::StatusCode::kInternal : it->code,
      message.empty() ? absl::StrCat("vSphere: ", type) : absl::StrCat(message, " (", type, ")"));
  status.SetPayload(kPayload, absl::Cord(type));
  return status;
}

std::string FaultTypeOf(const absl::Status& status) {
  const absl::optional<absl::Cord> type = status.GetPayload(kPayload);
  return type.has_value() ? std::string(*type) : std::string();
}

}  // namespace homeward::vsphere
