// GuestFiles: the machine's own files, under a root that tests choose. They belong to the machine
// and its operator: nothing here replaces one unless it says so.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_FILES_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mobility_agent/guest/location.h"

namespace homeward {

struct GuestFile {
  std::string content = {};
  uint32_t mode = 0644;  // permissions
  uint32_t owner = 0, group = 0;
};

// Paths are those of the machine, absolute. Thread-safe; what several change at once is theirs.
class GuestFiles {
 public:
  // `root` is empty for this machine's own root.
  explicit GuestFiles(std::string root) : root_(std::move(root)) {}

  // Whether anything has this name, a link that leads nowhere too.
  bool Exists(const std::string& path) const;
  // NOT_FOUND; FAILED_PRECONDITION when it is no regular file (the last part is never followed);
  // RESOURCE_EXHAUSTED over 1 MiB.
  absl::StatusOr<GuestFile> Read(const std::string& path) const;
  // The content as text; empty when it cannot be read. Links are followed, sizes are not believed:
  // for what the kernel shows.
  std::string Text(const std::string& path) const;
  // Names in a directory, sorted; none when it cannot be read.
  std::vector<std::string> List(const std::string& directory) const;
  // The regular files below, with their whole path, sorted; at most 256.
  std::vector<std::string> FilesBelow(const std::string& directory) const;
  // Durable on return, whole or not at all. Makes directories (0700). Replaces what is there only
  // with `replace`, else ALREADY_EXISTS.
  absl::Status Write(const std::string& path, const GuestFile& file, bool replace = false) const;
  // Durable on return. Keeps all that the file is, owner and attributes too. ALREADY_EXISTS when
  // `to` exists and `replace` is not set; FAILED_PRECONDITION across file systems.
  absl::Status Move(const std::string& from, const std::string& to, bool replace = false) const;
  // Durable on return. OK when it is not there.
  absl::Status Remove(const std::string& path) const;

  SmbiosFacts Smbios() const;
  // The network interfaces that are hardware, or a hypervisor's: not loopback or what is made of
  // others, and not the virtual function that Azure puts below another interface.
  std::vector<std::string> NetworkInterfaces() const;

 private:
  std::string At(const std::string& path) const { return root_ + path; }
  const std::string root_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_GUEST_FILES_H_
