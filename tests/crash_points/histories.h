// Scripted histories of everything that is durable, each with what it was promised on the way. A
// history is run on a disk that may die at any operation; then it opens what is left and holds it
// against the promises. The same history does the same operations every time.
#ifndef HOMEWARD_TESTS_CRASH_POINTS_HISTORIES_H_
#define HOMEWARD_TESTS_CRASH_POINTS_HISTORIES_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/os/file_system.h"

namespace homeward::crash_points {

class History {
 public:
  virtual ~History() = default;
  // Does its work until it is done or the disk dies, noting what was promised.
  virtual void Run(FileSystem& disk) = 0;
  // Opens what is left. An error says which promise is broken. DATA_LOSS that names `damaged` (a
  // path; empty: nothing was damaged) is a right answer too.
  virtual absl::Status Check(FileSystem& disk, const std::string& damaged) = 0;
};

struct Scripted {
  const char* name;
  std::function<std::unique_ptr<History>()> make;
  const char* planted = "";  // a bug that some cut must find
  // Opening it takes some thousand times longer: fewer subsets, and its bytes are left to
  // tests/cluster.
  bool slow = false;
  // It builds on changes of names that happen in order: RocksDB has a new manifest before the name
  // that points there.
  bool names_in_order = false;
};
// Atomic file, clean stop of an agent, spool (all forwarded, and waiting), recovery journal with
// its replica, the configuration server's store.
const std::vector<Scripted>& AllHistories();
// Their indexes.
std::vector<size_t> HistoriesWhere(const std::function<bool(const Scripted&)>& chosen);
inline bool HasPlantedBug(const Scripted& history) { return *history.planted != '\0'; }

}  // namespace homeward::crash_points

#endif  // HOMEWARD_TESTS_CRASH_POINTS_HISTORIES_H_
