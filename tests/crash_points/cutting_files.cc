#include "tests/crash_points/cutting_files.h"

#include <utility>

#include "common/status/status_macros.h"

namespace homeward::crash_points {

class CutFile : public File {
 public:
  CutFile(CuttingFiles* files, std::unique_ptr<File> below)
      : files_(*files), below_(std::move(below)) {}

  absl::Status Read(uint64_t offset, MutableBytes out) override {
    HW_RETURN_IF_ERROR(files_.Alive());
    return below_->Read(offset, out);
  }
  absl::Status ReadMany(absl::Span<const ReadInto> reads) override {
    HW_RETURN_IF_ERROR(files_.Alive());
    return below_->ReadMany(reads);
  }
  absl::Status BeginReadMany(absl::Span<const ReadInto> reads) override {
    return below_->BeginReadMany(reads);
  }
  absl::Status AwaitReads() override {
    const absl::Status read = below_->AwaitReads();
    HW_RETURN_IF_ERROR(files_.Alive());
    return read;
  }
  absl::Status Write(uint64_t offset, ConstBytes bytes) override {
    return files_.Operation([&] { return below_->Write(offset, bytes); });
  }
  absl::Status WriteMany(absl::Span<const WriteFrom> writes) override {
    return files_.Operation([&] { return below_->WriteMany(writes); });
  }
  absl::Status WriteZeroes(uint64_t offset, uint64_t length) override {
    return files_.Operation([&] { return below_->WriteZeroes(offset, length); });
  }
  absl::Status Sync() override {
    return files_.Operation([&] { return below_->Sync(); });
  }
  void BeginSync() override {
    if (files_.Alive().ok()) below_->BeginSync();
  }
  absl::StatusOr<uint64_t> Size() override {
    HW_RETURN_IF_ERROR(files_.Alive());
    return below_->Size();
  }
  absl::StatusOr<uint64_t> NextData(uint64_t offset) override {
    HW_RETURN_IF_ERROR(files_.Alive());
    return below_->NextData(offset);
  }
  absl::StatusOr<absl::Time> Modified() override {
    HW_RETURN_IF_ERROR(files_.Alive());
    return below_->Modified();
  }
  absl::Status Truncate(uint64_t size_bytes) override {
    return files_.Operation([&] { return below_->Truncate(size_bytes); });
  }

 private:
  CuttingFiles& files_;
  const std::unique_ptr<File> below_;
};

absl::Status CuttingFiles::Alive() const {
  return dead_ ? absl::UnknownError("the machine died") : absl::OkStatus();
}

absl::Status CuttingFiles::Operation(const std::function<absl::Status()>& operation) {
  if (left_ == 0) dead_ = true;
  HW_RETURN_IF_ERROR(Alive());
  --left_;
  const absl::Status done = operation();
  on_operation_();
  return done;
}

absl::StatusOr<std::unique_ptr<File>> CuttingFiles::Open(const std::string& path, OpenMode mode) {
  std::unique_ptr<File> file;
  const auto open = [&]() -> absl::Status {
    HW_ASSIGN_OR_RETURN(file, below_.Open(Below(path), mode));
    return absl::OkStatus();
  };
  const bool may_create = mode == OpenMode::kCreate;
  HW_RETURN_IF_ERROR(Alive());
  HW_RETURN_IF_ERROR(may_create ? Operation(open) : open());
  return std::make_unique<CutFile>(this, std::move(file));
}

absl::Status CuttingFiles::Rename(const std::string& from, const std::string& to) {
  return Operation([&] { return below_.Rename(Below(from), Below(to)); });
}
absl::Status CuttingFiles::Remove(const std::string& path) {
  return Operation([&] { return below_.Remove(Below(path)); });
}
absl::StatusOr<std::vector<std::string>> CuttingFiles::List(const std::string& directory) {
  HW_RETURN_IF_ERROR(Alive());
  return below_.List(Below(directory));
}
absl::Status CuttingFiles::MakeDirectories(const std::string& directory) {
  return Operation([&] { return below_.MakeDirectories(Below(directory)); });
}
absl::Status CuttingFiles::SyncDirectory(const std::string& directory) {
  return Operation([&] { return below_.SyncDirectory(Below(directory)); });
}
absl::StatusOr<VolumeSpace> CuttingFiles::Space(const std::string& directory) {
  HW_RETURN_IF_ERROR(Alive());
  return below_.Space(Below(directory));
}

}  // namespace homeward::crash_points
