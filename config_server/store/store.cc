#include "config_server/store/store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/backup_engine.h>
#include <rocksdb/write_batch.h>

#include "absl/strings/numbers.h"
#include "common/base/check.h"
#include "common/os/host.h"
#include "common/status/status_macros.h"
#include "config_server/store/rocks_store.h"
#include "config_server/store/upgrade.h"

namespace homeward {
namespace {

constexpr char kRestore[] = ": restore it from a backup; machines replicate meanwhile";

constexpr char kRevisionKey[] = "revision";

absl::Status FromRocks(const rocksdb::Status& status, const std::string& doing) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat(doing, ": ", status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(text);
  if (status.IsIOError() && text.find("lock") != text.npos) {
    return absl::FailedPreconditionError(
        absl::StrCat(text, ". Does another configuration server use this directory?"));
  }
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  return absl::UnknownError(text);
}

}  // namespace

class RocksStore : public Store {
 public:
  explicit RocksStore(std::unique_ptr<rocksdb::Env> env) : env_(std::move(env)) {}

  absl::Status Load(const std::string& directory) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.paranoid_checks = true;
    // A record that a crash left half written is dropped; damage anywhere else is an error, not an
    // end.
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
    options.write_buffer_size = 4 << 20;
    // All that counts is in the log.
    options.avoid_flush_during_shutdown = true;
    options.max_background_jobs = 2;
    options.keep_log_file_num = 4;
    options.max_log_file_size = 1 << 20;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(8 << 20);
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    if (env_ != nullptr) options.env = env_.get();
    rocksdb::DB* opened = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, directory, &opened);
    const absl::Status could_open =
        FromRocks(status, absl::StrCat("open the store in ", directory));
    if (absl::IsDataLoss(could_open)) {
      return absl::DataLossError(absl::StrCat(could_open.message(), kRestore));
    }
    HW_RETURN_IF_ERROR(could_open);
    db_.reset(opened);
    std::string revision;
    const rocksdb::Status read = db_->Get(rocksdb::ReadOptions(), kRevisionKey, &revision);
    if (!read.ok() && !read.IsNotFound())
      return FromRocks(read, absl::StrCat("read the store in ", directory));
    if (read.ok() && !absl::SimpleAtoi(revision, &revision_)) {
      return absl::DataLossError(
          absl::StrCat("the store in ", directory, " has the revision \"", revision, "\""));
    }
    std::optional<storage::v1::Meta> meta = Get<storage::v1::Meta>(kOnly);
    if (meta.has_value()) return Accept(directory, meta->schema_version());
    if (CountUnreadable<storage::v1::Meta>() > 0) {
      return absl::DataLossError(absl::StrCat(
          "the store in ", directory, " has a schema version that cannot be read", kRestore));
    }
    meta.emplace();
    meta->set_schema_version(kSchemaVersion);
    meta->set_config_server_id(RandomHexId());
    meta->set_next_job(1);
    meta->set_next_event(1);
    Transaction transaction;
    transaction.Put(kOnly, *meta);
    return Commit(transaction);
  }

  absl::Status BackUp(const std::string& directory) const override {
    rocksdb::BackupEngineOptions options(directory);
    // Of one backup nothing is shared with another.
    options.share_table_files = false;
    rocksdb::Env* const env = env_ != nullptr ? env_.get() : rocksdb::Env::Default();
    rocksdb::BackupEngine* opened = nullptr;
    HW_RETURN_IF_ERROR(FromRocks(rocksdb::BackupEngine::Open(env, options, &opened),
                                 absl::StrCat("begin a backup in ", directory)));
    const std::unique_ptr<rocksdb::BackupEngine> engine(opened);
    // What the log does not have yet nobody was told of.
    return FromRocks(engine->CreateNewBackup(db_.get(), /*flush_before_backup=*/false),
                     absl::StrCat("back up the store to ", directory));
  }

  uint64_t revision() const override { return revision_; }

 private:
  // As the next revision.
  void Add(const Transaction& transaction, rocksdb::WriteBatch* batch) const {
    for (const auto& [key, value] : transaction.changes()) {
      if (value.has_value()) {
        batch->Put(key, *value);
      } else {
        batch->Delete(key);
      }
    }
    batch->Put(kRevisionKey, absl::StrCat(revision_ + 1));
  }

  absl::Status Accept(const std::string& directory, uint32_t schema_version) {
    if (schema_version == kSchemaVersion) return absl::OkStatus();
    if (schema_version == 1) {
      const absl::Status upgraded = UpgradeFromSchema1(this);
      if (!absl::IsDataLoss(upgraded)) return upgraded;
      return absl::DataLossError(absl::StrCat("the store in ", directory, " is of schema 1, and ",
                                              upgraded.message(), kRestore));
    }
    const std::string has =
        absl::StrCat("the store in ", directory, " has schema ", schema_version, "; ");
    if (schema_version == 0)
      return absl::DataLossError(absl::StrCat(has, "no program writes that", kRestore));
    return absl::FailedPreconditionError(
        absl::StrCat(has, "a newer program wrote it, and this one reads up to ", kSchemaVersion,
                     ". Start the newer one, or restore the backup from before its upgrade."));
  }

  absl::Status Write(const Transaction& transaction, bool synced) override {
    rocksdb::WriteBatch batch;
    Add(transaction, &batch);
    rocksdb::WriteOptions options;
    options.sync = synced;
    // What is not durable yet is in memory only: Sync() writes all of it to the log as one. A log
    // with several records that no sync had confirmed could be torn in its middle by a crash, which
    // is damage to whoever reads it.
    options.disableWAL = !synced;
    if (!synced) Add(transaction, &unsynced_);
    HW_RETURN_IF_ERROR(FromRocks(db_->Write(options, &batch), "write to the store"));
    ++revision_;
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    rocksdb::WriteOptions options;
    options.sync = true;
    HW_RETURN_IF_ERROR(FromRocks(db_->Write(options, &unsynced_), "sync the store"));
    unsynced_.Clear();
    return absl::OkStatus();
  }

  std::optional<std::string> Read(const std::string& key) const override {
    std::string value;
    const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), key, &value);
    // What cannot be read any more must not look as if it had never been there.
    HW_CHECK(status.ok() || status.IsNotFound());
    return status.ok() ? std::optional<std::string>(std::move(value)) : std::nullopt;
  }

  void Scan(const std::string& prefix, bool backwards,
            const std::function<bool(const std::string&)>& visit) const override {
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(rocksdb::ReadOptions()));
    if (backwards) {
      it->SeekForPrev(prefix + "\xff");
    } else {
      it->Seek(prefix);
    }
    while (it->Valid() && it->key().starts_with(prefix)) {
      if (!visit(it->value().ToString())) return;
      backwards ? it->Prev() : it->Next();
    }
    HW_CHECK(it->status().ok());
  }

  const std::unique_ptr<rocksdb::Env> env_;  // outlives db_; null: the operating system's
  std::unique_ptr<rocksdb::DB> db_;
  uint64_t revision_ = 0;
  rocksdb::WriteBatch unsynced_;  // what the log does not have yet
};

absl::StatusOr<std::unique_ptr<Store>> OpenRocksStore(const std::string& directory,
                                                      std::unique_ptr<rocksdb::Env> env) {
  auto store = std::make_unique<RocksStore>(std::move(env));
  HW_RETURN_IF_ERROR(store->Load(directory));
  return store;
}

absl::Status Store::Commit(const Transaction& transaction) {
  HW_RETURN_IF_ERROR(Write(transaction, /*synced=*/!together_));
  for (const Watcher& watcher : watchers_) watcher(transaction);
  return absl::OkStatus();
}

absl::Status Store::Together(const std::function<void()>& commits) {
  HW_CHECK(!together_);
  together_ = true;
  commits();
  together_ = false;
  return Sync();
}

absl::Status Store::Restore(const std::string& backup, const std::string& directory) {
  rocksdb::BackupEngineReadOnly* opened = nullptr;
  HW_RETURN_IF_ERROR(
      FromRocks(rocksdb::BackupEngineReadOnly::Open(rocksdb::Env::Default(),
                                                    rocksdb::BackupEngineOptions(backup), &opened),
                absl::StrCat("open the backup in ", backup)));
  const std::unique_ptr<rocksdb::BackupEngineReadOnly> engine(opened);
  rocksdb::BackupInfo newest;
  HW_RETURN_IF_ERROR(
      FromRocks(engine->GetLatestBackupInfo(&newest), absl::StrCat("find the backup in ", backup)));
  HW_RETURN_IF_ERROR(
      FromRocks(engine->VerifyBackup(newest.backup_id, /*verify_with_checksum=*/true),
                absl::StrCat("check the backup in ", backup)));
  return FromRocks(engine->RestoreDBFromLatestBackup(directory, directory),
                   absl::StrCat("restore the store to ", directory));
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& directory) {
  if (!directory.empty()) return OpenRocksStore(directory, nullptr);
  return OpenRocksStore("/memory",
                        std::unique_ptr<rocksdb::Env>(rocksdb::NewMemEnv(rocksdb::Env::Default())));
}

}  // namespace homeward
