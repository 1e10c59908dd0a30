// The store with every file of RocksDB on a FileSystem of ours, so that a simulated disk can crash
// under it. For tests: the server uses RocksDB's own.
#ifndef HOMEWARD_TESTS_FAKES_STORE_ON_FILES_H_
#define HOMEWARD_TESTS_FAKES_STORE_ON_FILES_H_

#include <memory>
#include <string>

#include "common/os/file_system.h"
#include "config_server/store/store.h"

namespace homeward {

// As Store::Open(). `files` outlives the store, and is used by several threads, one at a time.
absl::StatusOr<std::unique_ptr<Store>> OpenStoreOnFiles(FileSystem& files,
                                                        const std::string& directory);

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_STORE_ON_FILES_H_
