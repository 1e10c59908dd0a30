// Store: everything the configuration server must not forget, in RocksDB; the only writer of it.
// Format: docs/formats/config_store.md.
#ifndef HOMEWARD_CONFIG_SERVER_STORE_STORE_H_
#define HOMEWARD_CONFIG_SERVER_STORE_STORE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/message_lite.h"
#include "homeward/storage/v1/storage.pb.h"
#include "homeward/types/v1/audit.pb.h"

namespace homeward {

// Where records of a type lie: "<prefix>/<key>".
template <typename Record>
struct RecordKind;
template <>
struct RecordKind<storage::v1::Meta> {
  static constexpr char kPrefix[] = "meta";
};
template <>
struct RecordKind<storage::v1::Authority> {
  static constexpr char kPrefix[] = "authority";
};
template <>
struct RecordKind<storage::v1::Server> {
  static constexpr char kPrefix[] = "server";
};
template <>
struct RecordKind<storage::v1::Machine> {
  static constexpr char kPrefix[] = "machine";
};
template <>
struct RecordKind<storage::v1::Job> {
  static constexpr char kPrefix[] = "job";
};
template <>
struct RecordKind<storage::v1::Vcenter> {
  static constexpr char kPrefix[] = "vcenter";
};
template <>
struct RecordKind<storage::v1::VcenterSecret> {
  static constexpr char kPrefix[] = "secret";
};
template <>
struct RecordKind<storage::v1::AzureSite> {
  static constexpr char kPrefix[] = "azure";
};
template <>
struct RecordKind<storage::v1::AzureSecret> {
  static constexpr char kPrefix[] = "azure_secret";
};
template <>
struct RecordKind<storage::v1::NamedPolicy> {
  static constexpr char kPrefix[] = "policy";
};
template <>
struct RecordKind<storage::v1::ReplicationGroup> {
  static constexpr char kPrefix[] = "group";
};
template <>
struct RecordKind<types::v1::AuditEntry> {
  static constexpr char kPrefix[] = "audit";
};
template <>
struct RecordKind<storage::v1::AuditHead> {
  static constexpr char kPrefix[] = "audit_head";
};
template <>
struct RecordKind<storage::v1::RecoveryPlan> {
  static constexpr char kPrefix[] = "plan";
};
template <>
struct RecordKind<storage::v1::Event> {
  static constexpr char kPrefix[] = "event";
};

// Must run on one strand.
class Store {
 public:
  static constexpr uint32_t kSchemaVersion = 2;
  static constexpr char kOnly[] = "only";  // the key of a record there is one of

  // Creates or opens the database in `directory`; in memory when `directory` is empty, for tests.
  // One of an older schema is brought to this one, for good.
  // FAILED_PRECONDITION: written by a newer schema, or in use. DATA_LOSS: damaged.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& directory);
  virtual ~Store() = default;

  // What is changed together.
  class Transaction {
   public:
    template <typename Record>
    void Put(absl::string_view key, const Record& record) {
      changes_.emplace_back(KeyOf<Record>(key), record.SerializeAsString());
    }
    template <typename Record>
    void Remove(absl::string_view key) {
      changes_.emplace_back(KeyOf<Record>(key), std::nullopt);
    }
    bool empty() const { return changes_.empty(); }
    // Key and value, in order; no value removes the key.
    using Change = std::pair<std::string, std::optional<std::string>>;
    const std::vector<Change>& changes() const { return changes_; }

   private:
    std::vector<Change> changes_;
  };
  // All or nothing; durable on return. A failure is fatal to the store: stop the server.
  absl::Status Commit(const Transaction& transaction);
  // What is committed meanwhile is durable when this returns, with one sync for all of it, and a
  // crash keeps a first part of it. Nothing that follows from it may be told to anybody before. A
  // failure is as one of Commit().
  absl::Status Together(const std::function<void()>& commits);

  template <typename Record>
  std::optional<Record> Get(absl::string_view key) const {
    const std::optional<std::string> bytes = Read(KeyOf<Record>(key));
    Record record;
    if (!bytes.has_value() || !record.ParseFromString(*bytes)) return std::nullopt;
    return record;
  }
  // In order of their keys. At most `count_max`, from the end when `newest`.
  template <typename Record>
  std::vector<Record> All(size_t count_max = SIZE_MAX, bool newest = false) const {
    std::vector<Record> records;
    Scan(absl::StrCat(RecordKind<Record>::kPrefix, "/"), newest, [&](const std::string& bytes) {
      Record record;
      if (record.ParseFromString(bytes)) records.push_back(std::move(record));
      return records.size() < count_max;
    });
    return records;
  }

  // How many records of this kind are there and cannot be parsed. All() leaves them out.
  template <typename Record>
  size_t CountUnreadable() const {
    size_t count = 0;
    Scan(absl::StrCat(RecordKind<Record>::kPrefix, "/"), false, [&](const std::string& bytes) {
      if (!Record().ParseFromString(bytes)) ++count;
      return true;
    });
    return count;
  }

  // Writes what is durable now to `directory`, which holds nothing else, with RocksDB's backup
  // engine. On any thread, beside everything else. UNIMPLEMENTED: it is not RocksDB.
  virtual absl::Status BackUp(const std::string&) const {
    return absl::UnimplementedError("this store cannot be backed up");
  }
  // Makes a store in `directory`, which has none, of what BackUp() wrote, once all of its checksums
  // are right. DATA_LOSS. Nothing is durable before somebody syncs it.
  static absl::Status Restore(const std::string& backup, const std::string& directory);

  // Grows with every commit, over restarts too.
  virtual uint64_t revision() const = 0;
  // Called after every commit, on the strand, in the order of the calls to Watch. It must not
  // commit.
  using Watcher = std::function<void(const Transaction&)>;
  void Watch(Watcher watcher) { watchers_.push_back(std::move(watcher)); }

 private:
  template <typename Record>
  static std::string KeyOf(absl::string_view key) {
    return absl::StrCat(RecordKind<Record>::kPrefix, "/", key);
  }
  // Durable on return where it is `synced`, and otherwise with the next Sync().
  virtual absl::Status Write(const Transaction& transaction, bool synced) = 0;
  virtual absl::Status Sync() = 0;
  virtual std::optional<std::string> Read(const std::string& key) const = 0;
  virtual void Scan(const std::string& prefix, bool backwards,
                    const std::function<bool(const std::string&)>& visit) const = 0;

  std::vector<Watcher> watchers_;
  bool together_ = false;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_STORE_STORE_H_
