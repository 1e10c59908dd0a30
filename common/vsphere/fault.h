// What a vCenter refuses, as a status that keeps the fault's type.
#ifndef HOMEWARD_COMMON_VSPHERE_FAULT_H_
#define HOMEWARD_COMMON_VSPHERE_FAULT_H_

#include <string>

#include "absl/status/status.h"

namespace homeward::vsphere {

// `type` is a fault's name in the API reference ("InvalidPowerState"), `message` the vCenter's own
// words.
//   UNAUTHENTICATED      no session, or a wrong name or password
//   PERMISSION_DENIED    the account may not
//   NOT_FOUND            an object or a file is gone
//   ALREADY_EXISTS       a name is taken
//   FAILED_PRECONDITION  the object's state does not allow it: another state first
//   ABORTED              another task is at work on the object: try again
//   RESOURCE_EXHAUSTED   no room, no memory
//   UNAVAILABLE          a host cannot be reached
//   INVALID_ARGUMENT     the request
//   UNIMPLEMENTED        this product does not do that
//   CANCELLED            the task was cancelled
//   INTERNAL             any other
absl::Status FaultToStatus(const std::string& type, const std::string& message);

// The fault's type of a status made by FaultToStatus(), also after annotation; otherwise empty.
std::string FaultTypeOf(const absl::Status& status);

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_FAULT_H_
