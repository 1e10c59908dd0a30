// Operation: what an operator can have done with a machine, and in which of its states.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_OPERATION_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_OPERATION_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// "protect", "create-point". Empty of OPERATION_UNSPECIFIED.
std::string OperationName(storage::v1::Operation operation);
// As operators call it for this machine: a failback to Azure is a "failover".
std::string OperationName(storage::v1::Operation operation, const storage::v1::Machine& machine);
std::string OperationName(const storage::v1::Job& job);
// OPERATION_UNSPECIFIED: no operation is called that.
storage::v1::Operation OperationCalled(absl::string_view name);

// In the public API's words: "Protected".
std::string StateName(storage::v1::ProtectionState state);
// The machine needs its process server: for its stream, or, failed over, for the points it keeps.
bool HasProcessServer(const storage::v1::Machine& machine);
// What the machine's state allows, whether or not other rules refuse it now. None while a job works
// on it.
std::vector<storage::v1::Operation> AllowedOperations(const storage::v1::Machine& machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_OPERATION_H_
