#include "tests/fakes/store_on_files.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <utility>

#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "config_server/store/rocks_store.h"

namespace homeward {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus ToRocks(const absl::Status& status) {
  if (status.ok()) return IOStatus::OK();
  const std::string text = status.ToString();
  if (absl::IsNotFound(status)) return IOStatus::PathNotFound(text);
  if (absl::IsResourceExhausted(status)) return IOStatus::NoSpace(text);
  return IOStatus::IOError(text);
}

// What the threads of one database share.
struct Shared {
  explicit Shared(FileSystem& files) : files(files) {}
  absl::Mutex mutex;
  FileSystem& files ABSL_GUARDED_BY(mutex);
};

// Positions and lengths of one open file; `Shared::mutex` guards it.
class OpenFile {
 public:
  OpenFile(Shared* shared, std::unique_ptr<File> file) : shared_(*shared), file_(std::move(file)) {}
  ~OpenFile() {
    absl::MutexLock lock(&shared_.mutex);
    file_.reset();
  }

  // Less than `bytes` at the end of the file.
  IOStatus Read(uint64_t offset, size_t bytes, Slice* result, char* scratch) const {
    *result = Slice(scratch, 0);
    absl::MutexLock lock(&shared_.mutex);
    const absl::StatusOr<uint64_t> size = file_->Size();
    if (!size.ok()) return ToRocks(size.status());
    const size_t there = offset < *size ? std::min<uint64_t>(bytes, *size - offset) : 0;
    *result = Slice(scratch, there);
    return ToRocks(file_->Read(offset, {reinterpret_cast<uint8_t*>(scratch), there}));
  }
  IOStatus Append(const Slice& data) {
    absl::MutexLock lock(&shared_.mutex);
    const absl::Status written =
        file_->Write(end_, AsBytes(absl::string_view(data.data(), data.size())));
    if (written.ok()) end_ += data.size();
    return ToRocks(written);
  }
  IOStatus Sync() {
    absl::MutexLock lock(&shared_.mutex);
    return ToRocks(file_->Sync());
  }
  IOStatus Truncate(uint64_t size_bytes) {
    absl::MutexLock lock(&shared_.mutex);
    end_ = size_bytes;
    return ToRocks(file_->Truncate(size_bytes));
  }
  uint64_t end() const {
    absl::MutexLock lock(&shared_.mutex);
    return end_;
  }

 private:
  Shared& shared_;
  std::unique_ptr<File> file_;
  uint64_t end_ = 0;
};

class SequentialFile : public rocksdb::FSSequentialFile {
 public:
  explicit SequentialFile(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}
  IOStatus Read(size_t bytes, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) override {
    const IOStatus status = file_->Read(offset_, bytes, result, scratch);
    offset_ += result->size();
    return status;
  }
  IOStatus Skip(uint64_t bytes) override {
    offset_ += bytes;
    return IOStatus::OK();
  }

 private:
  const std::unique_ptr<OpenFile> file_;
  uint64_t offset_ = 0;
};

class RandomAccessFile : public rocksdb::FSRandomAccessFile {
 public:
  explicit RandomAccessFile(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}
  IOStatus Read(uint64_t offset, size_t bytes, const IOOptions&, Slice* result, char* scratch,
                IODebugContext*) const override {
    return file_->Read(offset, bytes, result, scratch);
  }

 private:
  const std::unique_ptr<OpenFile> file_;
};

class WritableFile : public rocksdb::FSWritableFile {
 public:
  explicit WritableFile(std::unique_ptr<OpenFile> file) : file_(std::move(file)) {}
  using FSWritableFile::Append;
  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    return file_->Append(data);
  }
  IOStatus Truncate(uint64_t size_bytes, const IOOptions&, IODebugContext*) override {
    return file_->Truncate(size_bytes);
  }
  IOStatus Close(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return file_->Sync(); }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return file_->end(); }

 private:
  const std::unique_ptr<OpenFile> file_;
};

class Directory : public rocksdb::FSDirectory {
 public:
  Directory(Shared* shared, std::string path) : shared_(*shared), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    return ToRocks(shared_.files.SyncDirectory(path_));
  }

 private:
  Shared& shared_;
  const std::string path_;
};

class NoLogger : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char*, va_list) override {}
  size_t GetLogFileSize() const override { return 0; }
};

class RocksFiles : public rocksdb::FileSystem {
 public:
  explicit RocksFiles(homeward::FileSystem& files) : shared_(files) {}
  const char* Name() const override { return "homeward"; }

  IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions&,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result,
                             IODebugContext*) override {
    return Open<SequentialFile>(path, OpenMode::kReadOnly, result);
  }
  IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions&,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext*) override {
    return Open<RandomAccessFile>(path, OpenMode::kReadOnly, result);
  }
  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions&,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext*) override {
    const IOStatus opened = Open<WritableFile>(path, OpenMode::kCreate, result);
    // One of that name is replaced.
    return opened.ok() ? (*result)->Truncate(0, IOOptions(), nullptr) : opened;
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions&,
                        std::unique_ptr<rocksdb::FSDirectory>* result, IODebugContext*) override {
    *result = std::make_unique<Directory>(&shared_, path);
    return IOStatus::OK();
  }
  IOStatus FileExists(const std::string& path, const IOOptions&, IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    if (shared_.files.List(path).ok()) return IOStatus::OK();
    const absl::Status opened = shared_.files.Open(path, OpenMode::kReadOnly).status();
    return absl::IsNotFound(opened) ? IOStatus::NotFound() : ToRocks(opened);
  }
  IOStatus GetChildren(const std::string& path, const IOOptions&, std::vector<std::string>* names,
                       IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    const std::string directory(absl::StripSuffix(path, "/"));
    absl::StatusOr<std::vector<std::string>> found = shared_.files.List(directory);
    if (found.ok()) *names = *std::move(found);
    return absl::IsNotFound(found.status()) ? IOStatus::NotFound() : ToRocks(found.status());
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions&, IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    return ToRocks(shared_.files.Remove(path));
  }
  IOStatus CreateDir(const std::string& path, const IOOptions&, IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    return ToRocks(shared_.files.MakeDirectories(path));
  }
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions& options,
                              IODebugContext* context) override {
    return CreateDir(path, options, context);
  }
  IOStatus DeleteDir(const std::string& path, const IOOptions& options,
                     IODebugContext* context) override {
    return DeleteFile(path, options, context);
  }
  IOStatus GetFileSize(const std::string& path, const IOOptions&, uint64_t* bytes,
                       IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    const absl::StatusOr<std::unique_ptr<File>> file =
        shared_.files.Open(path, OpenMode::kReadOnly);
    if (!file.ok()) return ToRocks(file.status());
    const absl::StatusOr<uint64_t> size = (*file)->Size();
    if (size.ok()) *bytes = *size;
    return ToRocks(size.status());
  }
  IOStatus GetFileModificationTime(const std::string&, const IOOptions&, uint64_t* seconds,
                                   IODebugContext*) override {
    *seconds = 0;
    return IOStatus::OK();
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions&,
                      IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    return ToRocks(shared_.files.Rename(from, to));
  }
  IOStatus LockFile(const std::string&, const IOOptions&, rocksdb::FileLock** lock,
                    IODebugContext*) override {
    *lock = new rocksdb::FileLock;
    return IOStatus::OK();
  }
  IOStatus UnlockFile(rocksdb::FileLock* lock, const IOOptions&, IODebugContext*) override {
    delete lock;
    return IOStatus::OK();
  }
  IOStatus GetTestDirectory(const IOOptions&, std::string* path, IODebugContext*) override {
    path->assign(1, '/');
    return IOStatus::OK();
  }
  IOStatus IsDirectory(const std::string& path, const IOOptions&, bool* is_directory,
                       IODebugContext*) override {
    absl::MutexLock lock(&shared_.mutex);
    *is_directory = shared_.files.List(path).ok();
    return IOStatus::OK();
  }
  IOStatus NewLogger(const std::string&, const IOOptions&, std::shared_ptr<rocksdb::Logger>* result,
                     IODebugContext*) override {
    *result = std::make_shared<NoLogger>();
    return IOStatus::OK();
  }
  IOStatus GetAbsolutePath(const std::string& path, const IOOptions&, std::string* absolute,
                           IODebugContext*) override {
    *absolute = path;
    return IOStatus::OK();
  }

 private:
  template <typename Kind, typename Base>
  IOStatus Open(const std::string& path, OpenMode mode, std::unique_ptr<Base>* result) {
    absl::StatusOr<std::unique_ptr<File>> file;
    {
      absl::MutexLock lock(&shared_.mutex);
      file = shared_.files.Open(path, mode);
    }
    if (!file.ok()) return ToRocks(file.status());
    *result = std::make_unique<Kind>(std::make_unique<OpenFile>(&shared_, *std::move(file)));
    return IOStatus::OK();
  }

  Shared shared_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenStoreOnFiles(FileSystem& files,
                                                        const std::string& directory) {
  return OpenRocksStore(directory, rocksdb::NewCompositeEnv(std::make_shared<RocksFiles>(files)));
}

}  // namespace homeward
