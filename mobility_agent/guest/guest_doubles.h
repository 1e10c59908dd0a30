// Doubles for the tests of this room: a machine in a directory, and commands that only seem to run.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_DOUBLES_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_DOUBLES_H_

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "common/exec/strand.h"
#include "mobility_agent/guest/guest_step.h"

namespace homeward::testing {

// A root directory of its own, removed at the end.
class MachineDirectory {
 public:
  MachineDirectory() {
    char pattern[] = "/tmp/homeward-guest-XXXXXX";
    root_ = ::mkdtemp(pattern);
    Put("/sys/class/net/eth0/type", "1\n");
    Put("/sys/class/net/eth0/device", "");
  }
  ~MachineDirectory() { std::filesystem::remove_all(root_); }
  void Put(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string Get(const std::string& path) const {
    std::stringstream text;
    text << std::ifstream(root_ + path).rdbuf();
    return text.str();
  }
  bool Has(const std::string& path) const { return std::filesystem::exists(root_ + path); }
  void Delete(const std::string& path) const { std::filesystem::remove_all(root_ + path); }
  const std::string& root() const { return root_; }
  // Every file below `directory` with its content.
  std::map<std::string, std::string> All(const std::string& directory) const {
    std::map<std::string, std::string> all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_ + directory)) {
      const std::string path = entry.path().string().substr(root_.size());
      if (entry.is_regular_file()) all[path] = Get(path);
    }
    return all;
  }

 private:
  std::string root_;
};

// Says what the longest answer that a command line begins with says; without one, that it went
// well.
class SeemingCommands : public Commands {
 public:
  absl::StatusOr<ProgramResult> Run(const Command& command, absl::Duration) override {
    const std::string line = absl::StrJoin(command, " ");
    ran.push_back(line);
    if (on_run) on_run(line);
    const absl::StatusOr<ProgramResult>* best = nullptr;
    size_t longest = 0;
    for (const auto& [part, answer] : answers) {
      if (!absl::StrContains(line, part) || part.size() < longest) continue;
      longest = part.size();
      best = &answer;
    }
    return best == nullptr ? absl::StatusOr<ProgramResult>(ProgramResult()) : *best;
  }
  bool Ran(const std::string& part) const {
    for (const std::string& line : ran) {
      if (absl::StrContains(line, part)) return true;
    }
    return false;
  }
  std::map<std::string, absl::StatusOr<ProgramResult>> answers;
  std::function<void(const std::string&)> on_run;
  std::vector<std::string> ran;
};

// Runs what is posted when it is told to; remembers what is to be run later, and with which delay.
class PlainStrand : public Strand {
 public:
  struct Later {
    std::vector<std::pair<absl::Duration, std::function<void()>>> callbacks;
  };
  explicit PlainStrand(Later* later) : later_(later) {}
  void Post(std::function<void()> callback) override { now_.push_back(std::move(callback)); }
  void PostAfter(absl::Duration delay, std::function<void()> callback) override {
    later_->callbacks.emplace_back(delay, std::move(callback));
  }
  void Run(const std::function<void()>& callback) override { callback(); }
  void Stop() override {}
  void RunPosted() {
    for (auto& callback : std::exchange(now_, {})) callback();
  }

 private:
  std::vector<std::function<void()>> now_;
  Later* later_;
};

}  // namespace homeward::testing

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_DOUBLES_H_
