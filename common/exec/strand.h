// Strand: runs callbacks one after another. What a class touches only on its strand needs no lock.
#ifndef HOMEWARD_COMMON_EXEC_STRAND_H_
#define HOMEWARD_COMMON_EXEC_STRAND_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"

namespace homeward {

// Thread-safe. Callbacks may block.
class Strand {
 public:
  virtual ~Strand() = default;
  virtual void Post(std::function<void()> callback) = 0;
  // Runs `callback` once, no sooner than `delay` from now. It cannot be taken back: let it look
  // whether it is still wanted.
  virtual void PostAfter(absl::Duration delay, std::function<void()> callback) = 0;
  // Runs `callback` behind what was posted before, and waits for it. Not from the strand itself.
  virtual void Run(const std::function<void()>& callback) = 0;
  // Waits for the callback that runs and drops the rest; nothing runs any more. Whoever's callbacks
  // use their strand stops it before they let go of it: while a pointer is reset it is null, and a
  // callback may look at it just then. Not from the strand itself. May be repeated.
  virtual void Stop() = 0;
};

// A strand with a thread of its own, named `name` (15 characters are shown).
std::unique_ptr<Strand> MakeThreadStrand(const std::string& name);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_EXEC_STRAND_H_
