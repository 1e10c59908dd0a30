// Upgrade: what the records of schema 1 are in schema 2. docs/formats/config_store.md.
#ifndef HOMEWARD_CONFIG_SERVER_STORE_UPGRADE_H_
#define HOMEWARD_CONFIG_SERVER_STORE_UPGRADE_H_

#include "absl/status/status.h"
#include "config_server/store/store.h"

namespace homeward {

// In one transaction, with the new schema version in it: after a crash the store is all of the one
// or all of the other. DATA_LOSS: a record cannot be read; nothing was changed.
// Requires: the store is of schema 1.
absl::Status UpgradeFromSchema1(Store* store);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_STORE_UPGRADE_H_
