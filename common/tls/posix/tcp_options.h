#ifndef HOMEWARD_COMMON_TLS_POSIX_TCP_OPTIONS_H_
#define HOMEWARD_COMMON_TLS_POSIX_TCP_OPTIONS_H_

#include "common/os/posix/unique_fd.h"

namespace homeward {

// What is written leaves at once, and a host that is gone without a word is noticed in half a
// minute.
void SetTcpOptions(const UniqueFd& socket);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_POSIX_TCP_OPTIONS_H_
