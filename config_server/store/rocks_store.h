// The store on an environment of RocksDB's. For this room, and for the store of tests/fakes.
#ifndef HOMEWARD_CONFIG_SERVER_STORE_ROCKS_STORE_H_
#define HOMEWARD_CONFIG_SERVER_STORE_ROCKS_STORE_H_

#include <rocksdb/env.h>

#include <memory>
#include <string>

#include "config_server/store/store.h"

namespace homeward {

// As Store::Open(). `env` null: the operating system's.
absl::StatusOr<std::unique_ptr<Store>> OpenRocksStore(const std::string& directory,
                                                      std::unique_ptr<rocksdb::Env> env);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_STORE_ROCKS_STORE_H_
