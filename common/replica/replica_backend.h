// ReplicaBackend: what a replica is kept in. There is one for each kind of target, and a table says
// which: what is added is a kind of Target, a backend, and a line of the table.
#ifndef HOMEWARD_COMMON_REPLICA_REPLICA_BACKEND_H_
#define HOMEWARD_COMMON_REPLICA_REPLICA_BACKEND_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/exec/strand.h"
#include "common/os/attached_disks.h"
#include "common/os/file_system.h"
#include "common/problem/problem.h"
#include "common/replica/replica_store.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

// One thread. Disks are in stream order.
class ReplicaBackend {
 public:
  virtual ~ReplicaBackend() = default;

  struct Opened {
    std::unique_ptr<ReplicaStore> store;
    bool created = false;  // nothing of it was there before: the disks read as zeroes
  };
  // NOT_FOUND: the datastore or a device is not there (yet). UNAVAILABLE: a disk is not attached
  // (yet). FAILED_PRECONDITION: it is there and cannot serve.
  virtual absl::StatusOr<Opened> Open() = 0;
  // What the machine uses when it is home.
  virtual std::vector<std::string> Paths() const = 0;
  // Changes when somebody writes to the disk. Empty: it cannot be told. Always the same where that
  // makes no difference to the points.
  virtual absl::StatusOr<std::string> Stamp(int disk) = 0;
  // What Open() created is gone; what was there before stays.
  virtual absl::Status Remove() = 0;
  // The points are gone that are not in the retention directory.
  virtual absl::Status RemovePoints() { return absl::OkStatus(); }
  // Whether the points take room of the retention directory's volume.
  virtual bool points_are_here() const { return true; }
  // What a sender may send ahead of what is durable: memory, while the stream is busy. A medium
  // that is far away takes a lot at once, or little.
  virtual uint64_t window_bytes() const { return 16 * kMiB; }
  // Whether machines send here themselves. Otherwise a process server passes on what they send, and
  // has them send again what the store does not take.
  virtual bool machines_send() const { return false; }
  // Whether the disks may leave this host once they are handed to the machine. Then LetGo() makes
  // them ready for that; none may be open.
  virtual bool leaves() const { return false; }
  virtual absl::Status LetGo() { return absl::OkStatus(); }
  // What this host has of a medium that other hosts reach too. The backend that follows this one
  // while its store is open goes on with it. Empty: nothing.
  virtual std::string claim() const { return ""; }
  virtual void GoOnWith(const std::string&) {}

  // What an error of it, or of its store, is to an operator.
  struct Trouble {
    ProblemId problem;
    // It waits for somebody to put it right, as a device that is in use elsewhere: looked at again,
    // and not often. Otherwise it may be over at once.
    bool slow = false;
  };
  virtual Trouble TroubleOf(const absl::Status& status) const;
};

// What there is on this host for a replica's backend. What it refers to outlives it.
struct BackendParts {
  FileSystem& files;
  // This replica's own. The store may keep there what it needs; it is removed with the points.
  std::string retention_directory;
  // Those of the configuration. What is not among them is not there, whatever its path says.
  std::vector<std::string> datastores;
  std::vector<std::string> block_devices;
  AttachedDisks* attached = nullptr;  // null where no disk can be attached
  // For what is done beside the replica's own strand. Null: nothing is.
  std::function<std::unique_ptr<Strand>(const std::string& name)> make_strand = nullptr;
};

// Null: not on this host.
using BackendFactory = std::function<std::unique_ptr<ReplicaBackend>(const BackendParts&,
                                                                     const control::v1::Replica&)>;
// By the kind of the replica's target.
using BackendTable = std::map<control::v1::Target::KindCase, BackendFactory>;

// Where the table has nothing for the target, what it returns refuses everything
// (FAILED_PRECONDITION).
std::unique_ptr<ReplicaBackend> MakeBackend(const BackendTable& table, const BackendParts& parts,
                                            const control::v1::Replica& replica);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICA_REPLICA_BACKEND_H_
