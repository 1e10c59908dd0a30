// A key out of a passphrase: scrypt (RFC 7914).
#ifndef HOMEWARD_COMMON_CIPHER_PASSPHRASE_KEY_H_
#define HOMEWARD_COMMON_CIPHER_PASSPHRASE_KEY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace homeward {

// What guessing costs: memory of 128 * 2^cost * block_size bytes, and the time to fill it
// `parallelism` times. The defaults take 64 MiB and about 0.2 s.
struct StretchCost {
  uint32_t cost = 16;  // N is 2^cost
  uint32_t block_size = 8;
  uint32_t parallelism = 1;
};

// 32 bytes. INVALID_ARGUMENT: a cost that is nothing, or more than 1 GiB.
absl::StatusOr<std::string> KeyOfPassphrase(absl::string_view passphrase, absl::string_view salt,
                                            const StretchCost& cost);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CIPHER_PASSPHRASE_KEY_H_
