#include "common/os/linux/batch_io.h"

#include <liburing.h>

#include <cerrno>

#include "common/base/check.h"

namespace homeward {
namespace {

constexpr unsigned kUnderWayMax = 32;

class RingBatchIo : public BatchIo {
 public:
  explicit RingBatchIo(const io_uring& ring) : ring_(ring) {}
  ~RingBatchIo() override { io_uring_queue_exit(&ring_); }
  RingBatchIo(const RingBatchIo&) = delete;
  RingBatchIo& operator=(const RingBatchIo&) = delete;

  void Begin(absl::Span<Operation> operations) override {
    operations_ = operations;
    next_ = 0;
    PrepareMore();
    Submit(0);
  }
  void Finish() override {
    while (next_ < operations_.size() || under_way_ > 0) {
      PrepareMore();
      Submit(under_way_ > 0 ? 1 : 0);
      io_uring_cqe* ended = nullptr;
      while (io_uring_peek_cqe(&ring_, &ended) == 0) {
        if (Ended(static_cast<Operation*>(io_uring_cqe_get_data(ended)), ended->res)) --under_way_;
        io_uring_cqe_seen(&ring_, ended);
      }
    }
    operations_ = {};
  }

 private:
  void PrepareMore() {
    while (next_ < operations_.size() && under_way_ < kUnderWayMax) {
      operations_[next_].error = 0;
      if (operations_[next_].bytes > 0) {
        Prepare(&operations_[next_]);
        ++under_way_;
      }
      ++next_;
    }
  }
  void Submit(unsigned wait_for) {
    const int submitted = io_uring_submit_and_wait(&ring_, wait_for);
    // What was prepared stays prepared; what is under way must end before its memory may go.
    HW_CHECK(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY);
  }
  void Prepare(Operation* operation) {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    const auto bytes = static_cast<unsigned>(operation->bytes);
    if (operation->write) {
      io_uring_prep_write(entry, operation->fd, operation->data, bytes, operation->offset);
    } else {
      io_uring_prep_read(entry, operation->fd, operation->data, bytes, operation->offset);
    }
    io_uring_sqe_set_data(entry, operation);
  }
  // Whether it is over; a part that was done is not, and goes on.
  bool Ended(Operation* operation, int result) {
    if (result == -EINTR || result == -EAGAIN) {
      Prepare(operation);
      return false;
    }
    if (result <= 0) {
      operation->error = result == 0 ? ENODATA : -result;
      return true;
    }
    operation->offset += static_cast<unsigned>(result);
    operation->data += result;
    operation->bytes -= static_cast<unsigned>(result);
    if (operation->bytes == 0) return true;
    Prepare(operation);
    return false;
  }

  io_uring ring_;
  absl::Span<Operation> operations_;
  size_t next_ = 0;
  unsigned under_way_ = 0;
};

}  // namespace

std::unique_ptr<BatchIo> BatchIo::Create() {
  io_uring ring;
  if (io_uring_queue_init(2 * kUnderWayMax, &ring, 0) != 0) return nullptr;
  return std::make_unique<RingBatchIo>(ring);
}

}  // namespace homeward
