#include "config_server/backup/scratch.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"

namespace homeward {
namespace {

absl::Status Failed(const char* doing, const std::string& path, const std::error_code& error) {
  return absl::UnknownError(absl::StrCat(doing, " ", path, ": ", error.message()));
}

}  // namespace

absl::Status EmptyScratch(const std::string& directory) {
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  return error ? Failed("remove", directory, error) : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FilesInScratch(const std::string& directory) {
  std::vector<std::string> found;
  std::error_code error;
  std::filesystem::recursive_directory_iterator it(directory, error);
  for (; !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_regular_file(error)) found.push_back(it->path().lexically_relative(directory));
  }
  if (error) return Failed("list", directory, error);
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace homeward
