// DataKeys of a machine's stream: who may encrypt it, when a key begins and when it ends.
// docs/decisions/0020-sealed-path.md.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_DATA_KEYS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_DATA_KEYS_H_

#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

// At a time, of one stream: rekeys that were cancelled may leave some.
inline constexpr int kDataKeysMax = 8;

// Whether the server knows encrypted batches. False for null.
bool Encrypts(const storage::v1::Server* server);

// Whether the two that may see the content know them. Who only passes it on has no say in that.
bool EndsEncrypt(const storage::v1::Machine& machine, const storage::v1::Server* receiver);

// Why the machine's stream cannot be encrypted as it is placed now.
Refusal CheckEncrypts(const View& view, const storage::v1::Machine& machine);

// Why the process server that the machine has cannot pass on what is encrypted with its key.
Refusal CheckPassesOn(const View& view, const storage::v1::Machine& machine);

// What is wrong with a stream that is to be encrypted. Adds nothing for any other.
void JudgeEncryption(const View& view, const storage::v1::Machine& machine,
                     std::vector<types::v1::HealthIssue>* issues);

// The machine's next generation begins, with a data key of its own where its stream is to be
// encrypted and can be.
void BeginGeneration(const View& view, storage::v1::Machine* machine);

// Adds a key. Requires: CheckEncrypts() refuses nothing.
void AddDataKey(storage::v1::Machine* machine);

// Has the agent use the newest key once the end of the stream has it. False: it has not, as far as
// it said.
bool UseNewestDataKey(const View& view, storage::v1::Machine* machine);

// Forgets keys that were never used.
void DropUnusedDataKeys(storage::v1::Machine* machine);

// Ends what came before the newest key once nothing waits for it. False: something does, or may.
bool EndOldDataKeys(const View& view, storage::v1::Machine* machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_DATA_KEYS_H_
