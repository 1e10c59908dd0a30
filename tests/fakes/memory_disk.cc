#include "tests/fakes/memory_disk.h"

#include <algorithm>
#include <utility>

#include "common/status/status_macros.h"

namespace homeward {

class MemoryFile : public File {
 public:
  MemoryFile(MemoryDisk* disk, std::shared_ptr<MemoryDisk::Inode> inode)
      : disk_(*disk), inode_(std::move(inode)), incarnation_(disk->incarnation_) {}

  absl::Status Read(uint64_t offset, MutableBytes out) override {
    HW_RETURN_IF_ERROR(Alive());
    if (disk_.failing_reads_ > 0) {
      --disk_.failing_reads_;
      return absl::UnknownError("the simulated disk failed a read");
    }
    if (offset + out.size() > inode_->content.size())
      return absl::OutOfRangeError("read past the end");
    std::memcpy(out.data(), inode_->content.data() + offset, out.size());
    return absl::OkStatus();
  }

  absl::Status Write(uint64_t offset, ConstBytes bytes) override {
    HW_RETURN_IF_ERROR(Alive());
    const uint64_t growth =
        std::max<uint64_t>(inode_->content.size(), offset + bytes.size()) - inode_->content.size();
    if (disk_.UsedBytes() + growth > disk_.capacity_bytes_) {
      return absl::ResourceExhaustedError("the simulated disk is full");
    }
    const absl::Status died = disk_.Operation();
    // A machine that dies in the middle may still have written any part of it.
    inode_->content.resize(std::max<uint64_t>(inode_->content.size(), offset + bytes.size()));
    std::memcpy(inode_->content.data() + offset, bytes.data(), bytes.size());
    Touch(offset, bytes.size());
    return died;
  }

  absl::Status WriteZeroes(uint64_t offset, uint64_t length) override {
    const std::string zeroes(length, '\0');
    return Write(offset, AsBytes(zeroes));
  }

  absl::Status Sync() override {
    HW_RETURN_IF_ERROR(Alive());
    HW_RETURN_IF_ERROR(disk_.Operation());
    if (disk_.failing_syncs_ > 0) {
      --disk_.failing_syncs_;
      inode_->content = inode_->durable =
          MemoryDisk::SomeOf(*inode_, [this] { return disk_.Toss(); });
      inode_->unsynced.Clear();
      return disk_.failed_sync_;
    }
    inode_->durable = inode_->content;
    inode_->unsynced.Clear();
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    HW_RETURN_IF_ERROR(Alive());
    return inode_->content.size();
  }

  absl::StatusOr<uint64_t> NextData(uint64_t offset) override { return offset; }

  absl::StatusOr<absl::Time> Modified() override {
    HW_RETURN_IF_ERROR(Alive());
    return absl::FromUnixNanos(static_cast<int64_t>(inode_->changes));
  }

  absl::Status Truncate(uint64_t size_bytes) override {
    HW_RETURN_IF_ERROR(Alive());
    HW_RETURN_IF_ERROR(disk_.Operation());
    const uint64_t old_bytes = inode_->content.size();
    inode_->content.resize(size_bytes);
    Touch(std::min(old_bytes, size_bytes),
          std::max(old_bytes, size_bytes) - std::min(old_bytes, size_bytes));
    return absl::OkStatus();
  }

 private:
  absl::Status Alive() const {
    if (disk_.dead_ || incarnation_ != disk_.incarnation_) {
      return absl::UnavailableError("the simulated machine is dead");
    }
    return absl::OkStatus();
  }
  void Touch(uint64_t offset, uint64_t length) {
    ++inode_->changes;
    const uint64_t begin = offset / kSectorBytes * kSectorBytes;
    const uint64_t end = (offset + length + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
    inode_->unsynced.Add({begin, end - begin});
  }

  MemoryDisk& disk_;
  const std::shared_ptr<MemoryDisk::Inode> inode_;
  const uint64_t incarnation_;
};

absl::Status MemoryDisk::Operation() {
  ++operation_count_;
  if (!dead_ && operations_left_ > 0) {
    --operations_left_;
    return absl::OkStatus();
  }
  dead_ = true;
  return absl::UnavailableError("the simulated machine died");
}

uint64_t MemoryDisk::UsedBytes() const {
  uint64_t used = 0;
  for (const auto& [name, inode] : names_) used += inode->content.size();
  return used;
}

absl::StatusOr<std::unique_ptr<File>> MemoryDisk::Open(const std::string& path, OpenMode mode) {
  if (dead_) return absl::UnavailableError("the simulated machine is dead");
  auto it = names_.find(path);
  if (it == names_.end()) {
    if (mode == OpenMode::kReadOnly || mode == OpenMode::kReadWrite ||
        mode == OpenMode::kReadWriteBulk)
      return absl::NotFoundError(path);
    HW_RETURN_IF_ERROR(Operation());
    it = names_.emplace(path, std::make_shared<Inode>()).first;
    NoteNames();
  }
  return std::make_unique<MemoryFile>(this, it->second);
}

absl::Status MemoryDisk::Rename(const std::string& from, const std::string& to) {
  HW_RETURN_IF_ERROR(Operation());
  const auto it = names_.find(from);
  if (it == names_.end()) return absl::NotFoundError(from);
  names_[to] = it->second;
  names_.erase(from);
  NoteNames();
  return absl::OkStatus();
}

absl::Status MemoryDisk::Remove(const std::string& path) {
  HW_RETURN_IF_ERROR(Operation());
  names_.erase(path);
  NoteNames();
  if (directories_.contains(path)) {
    HW_ASSIGN_OR_RETURN(const std::vector<std::string> left, List(path));
    if (!left.empty()) return absl::FailedPreconditionError(path + " is not empty");
    directories_.erase(path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MemoryDisk::List(const std::string& directory) {
  if (dead_) return absl::UnavailableError("the simulated machine is dead");
  if (directories_.count(directory) == 0) return absl::NotFoundError(directory);
  std::vector<std::string> found;
  for (const auto& [name, inode] : names_) {
    if (ParentDirectory(name) == directory) found.push_back(name.substr(directory.size() + 1));
  }
  for (const auto& [name, there] : directories_) {
    if (ParentDirectory(name) == directory) found.push_back(name.substr(directory.size() + 1));
  }
  std::sort(found.begin(), found.end());
  return found;
}

absl::Status MemoryDisk::MakeDirectories(const std::string& directory) {
  HW_RETURN_IF_ERROR(Operation());
  for (std::string at = directory; at != "/" && at != "."; at = ParentDirectory(at)) {
    directories_[at] = true;
  }
  return absl::OkStatus();
}

absl::Status MemoryDisk::SyncDirectory(const std::string& directory) {
  HW_RETURN_IF_ERROR(Operation());
  for (auto it = durable_names_.begin(); it != durable_names_.end();) {
    const bool gone = ParentDirectory(it->first) == directory && names_.count(it->first) == 0;
    it = gone ? durable_names_.erase(it) : std::next(it);
  }
  for (const auto& [name, inode] : names_) {
    if (ParentDirectory(name) == directory) durable_names_[name] = inode;
  }
  if (names_since_.has_value()) names_since_->clear();
  return absl::OkStatus();
}

absl::StatusOr<VolumeSpace> MemoryDisk::Space(const std::string& directory) {
  const uint64_t used = UsedBytes();
  return VolumeSpace{capacity_bytes_, capacity_bytes_ > used ? capacity_bytes_ - used : 0};
}

std::string MemoryDisk::SomeOf(const Inode& inode, const std::function<bool()>& choose) {
  std::string after = inode.durable;
  if (inode.content.size() != after.size() && choose()) after.resize(inode.content.size());
  for (const Extent& range : inode.unsynced.Ranges()) {
    for (uint64_t at = range.offset; at < range.end(); at += kSectorBytes) {
      if (at >= after.size() || at >= inode.content.size() || !choose()) continue;
      const uint64_t n = std::min({kSectorBytes, after.size() - at, inode.content.size() - at});
      after.replace(at, n, inode.content, at, n);
    }
  }
  return after;
}

MemoryDisk::Names MemoryDisk::SurvivingNames(const std::function<bool()>& choose) {
  if (names_since_.has_value()) {
    Names survivors = durable_names_;
    for (const Names& names : std::exchange(*names_since_, {})) {
      if (!choose()) break;
      survivors = names;
    }
    return survivors;
  }
  Names survivors = durable_names_;
  for (const auto& [name, inode] : durable_names_) {
    const auto now = names_.find(name);
    if ((now == names_.end() || now->second != inode) && choose()) survivors.erase(name);
  }
  for (const auto& [name, inode] : names_) {
    const auto was = durable_names_.find(name);
    if (was != durable_names_.end() && was->second == inode) continue;
    if (survivors.count(name) == 0 && (was != durable_names_.end() || choose()))
      survivors[name] = inode;
  }
  return survivors;
}

void MemoryDisk::Crash() {
  Crash([this] { return Toss(); });
}

void MemoryDisk::Crash(const std::function<bool()>& choose) {
  ++incarnation_;
  dead_ = false;
  operations_left_ = UINT64_MAX;
  failing_syncs_ = failing_reads_ = 0;
  const Names survivors = SurvivingNames(choose);
  for (const auto& [name, inode] : survivors) {
    if (inode->unsynced.empty() && inode->content == inode->durable) continue;
    inode->content = inode->durable = SomeOf(*inode, choose);
    inode->unsynced.Clear();
  }
  names_ = durable_names_ = survivors;
}

void MemoryDisk::Attach(const std::string& path, std::string content) {
  const auto inode = std::make_shared<Inode>();
  inode->content = inode->durable = std::move(content);
  names_[path] = durable_names_[path] = inode;
}

std::string MemoryDisk::Detach(const std::string& path) {
  const auto it = names_.find(path);
  if (it == names_.end()) return {};
  std::string durable = it->second->durable;
  names_.erase(it);
  durable_names_.erase(path);
  return durable;
}

void MemoryDisk::Replace() {
  ++incarnation_;
  dead_ = false;
  operations_left_ = UINT64_MAX;
  names_.clear();
  durable_names_.clear();
  directories_.clear();
  if (names_since_.has_value()) names_since_->clear();
}

std::string MemoryDisk::Content(const std::string& path) const {
  const auto it = names_.find(path);
  return it == names_.end() ? "" : it->second->content;
}

std::vector<std::string> MemoryDisk::Paths() const {
  std::vector<std::string> paths;
  for (const auto& [name, inode] : names_) paths.push_back(name);
  return paths;
}

void MemoryDisk::FlipByte(const std::string& path, uint64_t offset) {
  Inode& inode = *names_.at(path);
  for (std::string* bytes : {&inode.content, &inode.durable}) {
    if (offset < bytes->size()) (*bytes)[offset] = static_cast<char>((*bytes)[offset] ^ 0x40);
  }
}

void MemoryDisk::Misplace(const std::string& path, Extent written, uint64_t to) {
  Inode& inode = *names_.at(path);
  for (std::string* bytes : {&inode.content, &inode.durable}) {
    if (std::max(written.end(), to + written.length) > bytes->size()) continue;
    const std::string moved = bytes->substr(written.offset, written.length);
    bytes->replace(written.offset, written.length, written.length, '\0');
    bytes->replace(to, written.length, moved);
  }
}

MemoryDisk::Snapshot MemoryDisk::TakeSnapshot() const {
  Snapshot snapshot;
  snapshot.directories = directories_;
  for (const auto& [name, inode] : durable_names_) snapshot.files[name] = inode->durable;
  return snapshot;
}

void MemoryDisk::Restore(const Snapshot& snapshot) {
  Replace();
  directories_ = snapshot.directories;
  for (const auto& [name, content] : snapshot.files) {
    names_[name] = durable_names_[name] = std::make_shared<Inode>(Inode{content, content, 1, {}});
  }
}

}  // namespace homeward
