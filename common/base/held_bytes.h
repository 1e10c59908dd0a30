// HeldBytes: bytes that the kernel keeps for this process.
#ifndef HOMEWARD_COMMON_BASE_HELD_BYTES_H_
#define HOMEWARD_COMMON_BASE_HELD_BYTES_H_

#include "common/base/bytes.h"

namespace homeward {

// Thread-safe.
class HeldBytes {
 public:
  virtual ~HeldBytes() = default;
  virtual size_t size() const = 0;
  // Copies them to `out`, which is as long. They are not held any more. Once.
  virtual void TakeTo(MutableBytes out) = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_HELD_BYTES_H_
