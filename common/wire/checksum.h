// The project's checksum: XXH3. It finds accidents; it is no defence against forgery (TLS is).
#ifndef HOMEWARD_COMMON_WIRE_CHECKSUM_H_
#define HOMEWARD_COMMON_WIRE_CHECKSUM_H_

#include <string>

#include "common/base/bytes.h"

namespace homeward {

uint64_t Checksum64(ConstBytes bytes);
uint64_t Checksum64(ConstBytes first, ConstBytes second);
// 16 bytes, for comparing the content of blocks between hosts.
std::string Digest128(ConstBytes bytes);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_WIRE_CHECKSUM_H_
