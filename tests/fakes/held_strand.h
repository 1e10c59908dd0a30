// HeldStrand: runs what is posted when it is told to.
#ifndef HOMEWARD_TESTS_FAKES_HELD_STRAND_H_
#define HOMEWARD_TESTS_FAKES_HELD_STRAND_H_

#include <functional>
#include <utility>
#include <vector>

#include "common/exec/strand.h"

namespace homeward {

class HeldStrand : public Strand {
 public:
  void Post(std::function<void()> callback) override { held_.push_back(std::move(callback)); }
  void PostAfter(absl::Duration, std::function<void()> callback) override { Post(callback); }
  void Run(const std::function<void()>& callback) override { callback(); }
  void Stop() override { held_.clear(); }
  void RunHeld() {
    for (auto& callback : std::exchange(held_, {})) callback();
  }

 private:
  std::vector<std::function<void()>> held_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_HELD_STRAND_H_
