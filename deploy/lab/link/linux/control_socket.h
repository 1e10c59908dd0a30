// ControlSocket: takes orders, a line each, and answers each with a line.
#ifndef HOMEWARD_DEPLOY_LAB_LINK_LINUX_CONTROL_SOCKET_H_
#define HOMEWARD_DEPLOY_LAB_LINK_LINUX_CONTROL_SOCKET_H_

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/os/posix/unique_fd.h"

namespace homeward {

// One thread, and never blocks. Only its owner may connect. The socket's file goes with this
// object.
class ControlSocket {
 public:
  using Answer = std::function<std::string(absl::string_view order)>;
  // ALREADY_EXISTS: another process serves there. What a killed one left is replaced.
  static absl::StatusOr<ControlSocket> Open(const std::string& path, Answer answer);
  ControlSocket(ControlSocket&&) = default;
  ~ControlSocket();

  // Readable when Serve() has something to do.
  int fd() const { return events_.get(); }
  void Serve();

 private:
  // Whoever has more connections open, or says more without an end of line, is hung up on.
  static constexpr size_t kClientsMax = 16;
  static constexpr size_t kOrderBytesMax = 4096;
  struct Client {
    UniqueFd fd;
    std::string heard;
  };
  ControlSocket() = default;
  void Accept();
  // False when the connection is over.
  bool Hear(Client* client);

  std::string path_;
  Answer answer_;
  UniqueFd events_, listener_;
  std::map<int, Client> clients_;
};

// Connects, gives one order, and returns the answer.
absl::StatusOr<std::string> GiveOrder(const std::string& path, absl::string_view order);

}  // namespace homeward

#endif  // HOMEWARD_DEPLOY_LAB_LINK_LINUX_CONTROL_SOCKET_H_
