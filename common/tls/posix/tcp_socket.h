#ifndef HOMEWARD_COMMON_TLS_POSIX_TCP_SOCKET_H_
#define HOMEWARD_COMMON_TLS_POSIX_TCP_SOCKET_H_

#include <memory>

#include "common/os/posix/unique_fd.h"
#include "common/tls/tls_socket.h"

namespace homeward {

// `fd` is connected and non-blocking.
std::unique_ptr<Socket> MakeTcpSocket(UniqueFd fd);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_POSIX_TCP_SOCKET_H_
