// NbdSession: one NBD connection, from greeting to end.
#ifndef HOMEWARD_COMMON_NBD_POSIX_NBD_SESSION_H_
#define HOMEWARD_COMMON_NBD_POSIX_NBD_SESSION_H_

#include <string>

#include "common/nbd/nbd_server.h"

namespace homeward {

// One thread. `fd` and `disk` outlive it.
class NbdSession {
 public:
  NbdSession(int fd, NbdExport* disk) : fd_(fd), disk_(*disk) {}
  // Serves until the client leaves, breaks the protocol, or the socket is shut down.
  void Run();

 private:
  struct Request {
    uint16_t flags = 0;
    uint16_t type = 0;
    uint64_t cookie = 0;
    uint64_t offset = 0;
    uint32_t length = 0;
  };

  bool Negotiate();
  // False ends the connection; `*serving` says that transmission begins.
  bool HandleOption(uint32_t option, const std::string& data, bool* serving);
  bool ReplyToGo(uint32_t option, const std::string& data, bool* serving);
  bool ReplyToOption(uint32_t option, uint32_t type, const std::string& data);
  bool Serve();
  bool HandleRead(const Request& request);
  absl::Status Change(const Request& request, const std::string& payload);
  bool Reply(const Request& request, uint32_t error);
  uint16_t TransmissionFlags() const;

  bool ReadExactly(std::string* out, size_t bytes);
  bool WriteAll(const std::string& bytes);

  const int fd_;
  NbdExport& disk_;
  bool no_zeroes_ = false;
  bool structured_ = false;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_NBD_POSIX_NBD_SESSION_H_
