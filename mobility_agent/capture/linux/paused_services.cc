#include "mobility_agent/capture/linux/paused_services.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

namespace fs = std::filesystem;

constexpr int kPauseMs = 1000;  // for all services together
constexpr int kLookMs = 1;
constexpr int kDepthMax = 12;

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool IsFreezable(const std::string& directory) {
  return Exists(directory + "/cgroup.freeze") || Exists(directory + "/freezer.state");
}

// Below `directory` too.
bool Holds(const std::string& directory, pid_t process) {
  std::ifstream processes(directory + "/cgroup.procs");
  for (pid_t other = 0; processes >> other;) {
    if (other == process) return true;
  }
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    if (entry.is_directory(error) && !entry.is_symlink(error) && Holds(entry.path(), process))
      return true;
  }
  return false;
}

absl::Status CheckNobodyNeeds(const std::string& directory) {
  if (Holds(directory, ::getpid())) {
    return absl::InvalidArgumentError(
        "it holds the agent itself, which could never let it go on again");
  }
  if (Holds(directory, 1)) {
    return absl::InvalidArgumentError(
        "it holds the machine's first process, which must not stand still");
  }
  return absl::OkStatus();
}

// A user's own services may be called as the machine's are.
void FindNamed(const fs::path& directory, const std::string& name, int depth,
               std::vector<std::string>* found) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    if (!entry.is_directory(error) || entry.is_symlink(error)) continue;
    if (entry.path().filename() == name && IsFreezable(entry.path())) {
      found->push_back(entry.path());
    } else if (depth < kDepthMax && entry.path().filename() != "user.slice") {
      FindNamed(entry.path(), name, depth + 1, found);
    }
  }
}

std::string ReadAt(int descriptor) {
  std::array<char, 256> text;
  const ssize_t length = ::pread(descriptor, text.data(), text.size(), 0);
  return length > 0 ? std::string(text.data(), static_cast<size_t>(length)) : std::string();
}

}  // namespace

absl::StatusOr<std::shared_ptr<PausedServices>> PausedServices::Open(std::vector<std::string> names,
                                                                     std::string root) {
  const std::shared_ptr<PausedServices> services(
      new PausedServices(std::move(names), std::move(root)));
  for (const std::string& name : services->names_) {
    absl::StatusOr<std::string> directory = services->Find(name);
    if (directory.ok() && !directory->empty()) {
      const absl::Status free = CheckNobodyNeeds(*directory);
      if (!free.ok()) directory = free;
    }
    if (!directory.ok())
      return Annotate(directory.status(), absl::StrCat("pause_services: ", name));
  }
  return services;
}

PausedServices::~PausedServices() {
  absl::MutexLock lock(&mutex_);
  ResumeAll();
}

absl::StatusOr<std::string> PausedServices::Find(const std::string& name) const {
  if (absl::StartsWith(name, "/")) {
    if (!Exists(name)) return std::string();
    if (IsFreezable(name)) return name;
    return absl::InvalidArgumentError(
        "it is no control group that can be frozen: it has neither cgroup.freeze nor "
        "freezer.state");
  }
  std::vector<std::string> found;
  FindNamed(root_, name, 0, &found);
  if (found.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("several control groups are called so: ", found[0], " and ", found[1],
                     "; name one by its path"));
  }
  return found.empty() ? std::string() : found.front();
}

bool PausedServices::Paused::StandsStill() const {
  const bool unified = kind == ThawGuard::Kind::kControlGroup;
  return absl::StrContains(ReadAt(state.get()), unified ? "frozen 1" : "FROZEN");
}

absl::StatusOr<PausedServices::Paused> PausedServices::OpenFreezer(const std::string& name) const {
  HW_ASSIGN_OR_RETURN(const std::string directory, Find(name));
  if (directory.empty()) {
    return absl::NotFoundError(
        "there is no such control group: nothing of it runs, or it is not called so");
  }
  HW_RETURN_IF_ERROR(CheckNobodyNeeds(directory));
  const bool unified = Exists(directory + "/cgroup.freeze");
  Paused paused;
  paused.name = name;
  paused.kind = unified ? ThawGuard::Kind::kControlGroup : ThawGuard::Kind::kFreezerGroup;
  const std::string freezer = directory + (unified ? "/cgroup.freeze" : "/freezer.state");
  paused.freezer = UniqueFd(::open(freezer.c_str(), O_RDWR | O_CLOEXEC));
  if (!paused.freezer.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", freezer));
  const std::string state = unified ? directory + "/cgroup.events" : freezer;
  paused.state = UniqueFd(::open(state.c_str(), O_RDONLY | O_CLOEXEC));
  if (!paused.state.valid()) return absl::ErrnoToStatus(errno, absl::StrCat("open ", state));
  if (absl::StrContains(ReadAt(paused.freezer.get()), unified ? "1" : "FR"))
    return absl::FailedPreconditionError("somebody else has frozen it");
  return paused;
}

PausedServices::Outcome PausedServices::Pause() {
  absl::MutexLock lock(&mutex_);
  if (users_++ > 0) return outcome_;
  outcome_ = {};
  const auto trouble = [this](const std::string& name, absl::string_view what) {
    outcome_.troubles.push_back(absl::StrCat("service ", name, ": ", what));
  };
  for (const std::string& name : names_) {
    absl::StatusOr<Paused> opened = OpenFreezer(name);
    if (opened.ok()) {
      paused_.push_back(*std::move(opened));
    } else {
      trouble(name, opened.status().message());
    }
  }
  if (paused_.empty()) return outcome_;
  std::vector<ThawGuard::Item> items;
  for (const Paused& one : paused_) items.push_back({one.kind, one.freezer.get()});
  absl::StatusOr<ThawGuard> guard = ThawGuard::Watch(items);
  if (!guard.ok()) {
    trouble(paused_.front().name, guard.status().message());
    paused_.clear();
    return outcome_;
  }
  guard_ = *std::move(guard);
  FreezeAll();
  for (const Paused& one : paused_) {
    if (one.still) {
      outcome_.still.push_back(absl::StrCat("service ", one.name));
    } else {
      one.Thaw();
      trouble(one.name, "its processes did not stand still within a second");
    }
  }
  return outcome_;
}

void PausedServices::FreezeAll() {
  for (const Paused& one : paused_) {
    const absl::string_view word = one.kind == ThawGuard::Kind::kControlGroup ? "1" : "FROZEN";
    // What refuses is seen by its state.
    [[maybe_unused]] const ssize_t n = ::pwrite(one.freezer.get(), word.data(), word.size(), 0);
  }
  for (int waited_ms = 0; waited_ms < kPauseMs; waited_ms += kLookMs) {
    bool all = true;
    for (Paused& one : paused_) {
      one.still = one.StandsStill();
      all = all && one.still;
    }
    if (all) return;
    ::poll(nullptr, 0, kLookMs);
  }
}

void PausedServices::Resume() {
  absl::MutexLock lock(&mutex_);
  if (--users_ == 0) ResumeAll();
}

void PausedServices::ResumeAll() {
  for (size_t i = paused_.size(); i-- > 0;) paused_[i].Thaw();
  if (guard_.has_value()) guard_->Release();
  guard_.reset();
  paused_.clear();
}

}  // namespace homeward
