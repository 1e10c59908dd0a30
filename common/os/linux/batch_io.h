// BatchIo: many reads and writes under way at once, through one io_uring.
#ifndef HOMEWARD_COMMON_OS_LINUX_BATCH_IO_H_
#define HOMEWARD_COMMON_OS_LINUX_BATCH_IO_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"

namespace homeward {

// One thread at a time.
class BatchIo {
 public:
  struct Operation {
    int fd = -1;
    bool write = false;
    uint64_t offset = 0;
    uint8_t* data = nullptr;  // only read from when `write`
    size_t bytes = 0;
    int error = 0;  // an errno, once it is over; ENODATA: the file ends before
  };
  // Null where the kernel or its policy allows no ring.
  static std::unique_ptr<BatchIo> Create();
  virtual ~BatchIo() = default;
  // Has as many under way as may be, and the rest when it is waited for. `operations` stay until
  // Finish(), which returns when all are over, whole or with their error.
  virtual void Begin(absl::Span<Operation> operations) = 0;
  virtual void Finish() = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_LINUX_BATCH_IO_H_
