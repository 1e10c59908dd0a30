// DataKeys of a machine's stream: who may encrypt it, when a key begins and when it ends.
// docs/decisions/0020-sealed-path.md.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_DATA_KEYS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_DATA_KEYS_H_

#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

// Whether all who have to do with it know encrypted batches. `relay` null: there is none.
bool AllEncrypt(const storage::v1::Machine& machine, const storage::v1::Server* relay,
                const storage::v1::Server* receiver);

// Why the machine's stream cannot be encrypted as it is placed now.
Refusal CheckEncrypts(const View& view, const storage::v1::Machine& machine);

// The machine's next generation begins, with a data key of its own where its stream is to be
// encrypted and can be.
void BeginGeneration(const View& view, storage::v1::Machine* machine);

// Adds a key, which is used from now on. Requires: CheckEncrypts() refuses nothing.
void AddDataKey(storage::v1::Machine* machine);

// Ends what came before the newest key once nothing waits for it. False: something does, or may.
bool EndOldDataKeys(const View& view, storage::v1::Machine* machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_DATA_KEYS_H_
