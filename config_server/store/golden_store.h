// A store as a program left it behind: records as bytes, put into a database and taken out of it
// beside Store. For tests.
#ifndef HOMEWARD_CONFIG_SERVER_STORE_GOLDEN_STORE_H_
#define HOMEWARD_CONFIG_SERVER_STORE_GOLDEN_STORE_H_

#include <rocksdb/db.h>

#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "config_server/store/store.h"
#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward::testing {

using RawRecords = std::map<std::string, std::string>;  // by key

// The machine of the golden stores that is replicated to its original VM.
inline constexpr char kWeb[] = "55a754328cf76188fe77b0a1776063c1";

// Of a golden file: lines of key and record, in hex.
inline RawRecords ReadGoldenRecords(const std::string& name) {
  RawRecords records;
  std::istringstream lines(ReadGolden(name));
  std::string key, hex;
  while (lines >> key >> hex) records[key] = absl::HexStringToBytes(hex);
  return records;
}

// The golden file that has them.
inline std::string GoldenOf(const RawRecords& records) {
  std::string lines;
  for (const auto& [key, bytes] : records)
    absl::StrAppend(&lines, key, " ", absl::BytesToHexString(bytes), "\n");
  return lines;
}

// A directory for a store, which goes away with it.
class StoreDirectory {
 public:
  StoreDirectory() {
    char pattern[] = "/tmp/homeward-golden-XXXXXX";
    path_ = ::mkdtemp(pattern);
  }
  explicit StoreDirectory(const RawRecords& records) : StoreDirectory() {
    const std::unique_ptr<rocksdb::DB> db = Database();
    for (const auto& [key, bytes] : records)
      EXPECT_TRUE(db->Put(rocksdb::WriteOptions(), key, bytes).ok()) << key;
  }
  StoreDirectory(const StoreDirectory&) = delete;
  StoreDirectory& operator=(const StoreDirectory&) = delete;
  ~StoreDirectory() { std::filesystem::remove_all(path_); }

  absl::StatusOr<std::unique_ptr<Store>> Open() const { return Store::Open(path_); }
  // Requires: no Store has it open.
  RawRecords Records() const {
    RawRecords records;
    const std::unique_ptr<rocksdb::DB> db = Database();
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
    for (it->SeekToFirst(); it->Valid(); it->Next())
      records[it->key().ToString()] = it->value().ToString();
    EXPECT_TRUE(it->status().ok());
    return records;
  }

 private:
  std::unique_ptr<rocksdb::DB> Database() const {
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::DB* db = nullptr;
    const rocksdb::Status opened = rocksdb::DB::Open(options, path_, &db);
    EXPECT_TRUE(opened.ok()) << opened.ToString();
    return std::unique_ptr<rocksdb::DB>(db);
  }

  std::string path_;
};

}  // namespace homeward::testing

#endif  // HOMEWARD_CONFIG_SERVER_STORE_GOLDEN_STORE_H_
