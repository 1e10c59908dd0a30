// NbdServer: serves one disk over NBD on a unix socket. Fixed newstyle negotiation, structured
// replies, flush, FUA, trim, write zeroes, several connections. No TLS: the socket's file mode is
// its protection. Source: the NBD protocol description of the NetworkBlockDevice project
// (doc/proto.md).
#ifndef HOMEWARD_COMMON_NBD_NBD_SERVER_H_
#define HOMEWARD_COMMON_NBD_NBD_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace homeward {

// A disk to serve. Called from several threads at once. Ranges are whole sectors and on the disk.
class NbdExport {
 public:
  virtual ~NbdExport() = default;
  virtual uint64_t size_bytes() const = 0;
  virtual bool read_only() const = 0;
  virtual absl::Status ReadAt(uint64_t offset, MutableBytes out) = 0;
  virtual absl::Status WriteAt(uint64_t offset, ConstBytes bytes) = 0;
  // Reads as zeroes afterwards.
  virtual absl::Status ZeroAt(uint64_t offset, uint64_t length) = 0;
  // Durable on return: all writes that ended before.
  virtual absl::Status Flush() = 0;
};

class NbdServer {
 public:
  static constexpr int kConnectionsMax = 32;
  static constexpr uint32_t kRequestBytesMax = 32 * kMiB;

  // Listens on `socket_path` (mode 0600), replacing a socket nobody listens on. ALREADY_EXISTS when
  // somebody does. `disk` outlives the server.
  static absl::StatusOr<std::unique_ptr<NbdServer>> Start(const std::string& socket_path,
                                                          NbdExport* disk);
  // Ends all connections and removes the socket.
  virtual ~NbdServer() = default;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_NBD_NBD_SERVER_H_
