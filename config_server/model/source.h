// What a machine runs in, which a failback turns off: asked of its record, not of where it goes.
// Pure. What is done there is a Source's (config_server/workflows/source.h).
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_SOURCE_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_SOURCE_H_

#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

// The machine, as it is replicated or was left last. Never SOURCE_UNSPECIFIED.
storage::v1::Source SourceOf(const storage::v1::Machine& machine);

// Of a machine that lives in Azure: whether its VM there can be replicated from, and still is the
// machine's. Nothing, for any other machine.
//
// What is so for good, whatever state the machine is in.
Refusal CheckStaysInAzure(const storage::v1::Machine& machine);
// What Azure says of the VM now. Nothing where that is not known.
Refusal CheckAzureHome(const View& view, const storage::v1::Machine& machine);
bool SeenRunningInAzure(const View& view, const storage::v1::Machine& machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_SOURCE_H_
