// What is recorded of what a machine has in Azure, and what a move of it is made from. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_AZURE_RECORD_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_AZURE_RECORD_H_

#include <string>
#include <vector>

#include "config_server/model/cloud_move.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// The name of what is made for the machine in its generation: the same whenever it is asked. Its
// name in the form that Azure takes, the beginning of its id, the generation.
std::string AzureNameOf(const storage::v1::Machine& machine, uint64_t generation);
// Writes the names of what is made in the machine's generation from these snapshots, in stream
// order.
void NameAzureVm(const storage::v1::Machine& machine, const std::vector<std::string>& snapshots,
                 storage::v1::AzureVm* vm);
// As NameAzureVm(), of a copy that the job starts beside the machine.
void NameTestVm(const storage::v1::Machine& machine, const std::vector<std::string>& snapshots,
                storage::v1::AzureVm* vm);
// A move of it, for the job that works on the machine.
CloudMove CloudMoveOf(const storage::v1::Machine& machine, const storage::v1::AzureVm& vm,
                      CloudMove::Kind kind);
// "/subscriptions/.../providers/Microsoft.Compute/disks/NAME": of the VM's disks, in stream order.
std::vector<std::string> AzureDiskIds(const storage::v1::AzureVm& vm);
std::string AzureVmId(const storage::v1::AzureVm& vm);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_AZURE_RECORD_H_
