// GuestRecord: where this machine is at home, and what was changed in it for being elsewhere.
// Format: docs/formats/guest_record.md. It is on the machine's own disk, so it travels with what it
// tells of.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_RECORD_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_RECORD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/os/file_system.h"
#include "mobility_agent/guest/location.h"

namespace homeward {

// How far one step is. What is on its way is finished at the next attempt, in either direction.
enum class GuestPhase : uint32_t { kHome = 0, kLeaving = 1, kAway = 2, kReturning = 3 };

// A file of the machine, and where it, or a copy of it, is kept for the way home.
struct KeptFile {
  std::string path;
  std::string kept;
  // Coming home: what is at `path` is not the operator's and gives way.
  bool yields = false;
  bool operator==(const KeptFile&) const = default;
};

struct GuestRecord {
  GuestLocation home = GuestLocation::kOther;

  struct WrittenFile {
    std::string path, content;
    bool operator==(const WrittenFile&) const = default;
  };
  struct Network {
    GuestPhase phase = GuestPhase::kHome;
    std::vector<std::string> kinds;  // "ifupdown", in the order they were looked at
    std::vector<KeptFile> kept;      // moved
    std::vector<WrittenFile> written;
    bool operator==(const Network&) const = default;
  } network;

  struct Package {
    std::string name, version;
    bool chosen = false;  // by the operator, not for another package's sake
    bool operator==(const Package&) const = default;
  };
  struct Service {
    std::string name;
    std::string state;  // in the words of what sets it: "enabled", "auto"
    bool operator==(const Service&) const = default;
  };
  struct Tools {
    GuestPhase phase = GuestPhase::kHome;
    std::vector<Package> packages;
    std::vector<Service> services;
    std::vector<KeptFile> kept;  // copies
    bool operator==(const Tools&) const = default;
  } tools;
  bool operator==(const GuestRecord&) const = default;
};

std::string EncodeGuestRecord(const GuestRecord& record);
// DATA_LOSS: damaged.
absl::StatusOr<GuestRecord> DecodeGuestRecord(absl::string_view bytes);

// Nothing where there is none. DATA_LOSS names the file.
absl::StatusOr<absl::optional<GuestRecord>> ReadGuestRecord(FileSystem& files,
                                                            const std::string& path);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_RECORD_H_
