// Scripted histories of everything that is durable, each with what it was promised on the way. A
// history is run on a simulated disk that may die at any operation; then it opens what is left and
// holds it against the promises.
#ifndef HOMEWARD_TESTS_CRASH_POINTS_HISTORIES_H_
#define HOMEWARD_TESTS_CRASH_POINTS_HISTORIES_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/os/memory_disk.h"

namespace homeward::crash_points {

class History {
 public:
  virtual ~History() = default;
  // Does its work until it is done or the disk dies, noting what was promised.
  virtual void Run(MemoryDisk& disk) = 0;
  // Opens what is left. An error says which promise is broken. DATA_LOSS that names `damaged` (a
  // path; empty: nothing was damaged) is a right answer too.
  virtual absl::Status Check(MemoryDisk& disk, const std::string& damaged) = 0;
};

struct Scripted {
  const char* name;
  std::function<std::unique_ptr<History>()> make;
  const char* planted = "";  // a bug that some cut must find
  // Opening it takes some thousand times longer: fewer subsets, and its bytes are left to
  // tests/cluster.
  bool slow = false;
};
// Atomic file, clean stop of an agent, spool (all forwarded, and waiting), recovery journal with
// its replica, the configuration server's store.
const std::vector<Scripted>& AllHistories();

}  // namespace homeward::crash_points

#endif  // HOMEWARD_TESTS_CRASH_POINTS_HISTORIES_H_
