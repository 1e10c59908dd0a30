// SendWindow: what of an epoch was sealed and is not durable on the master target, and what of it
// goes next on this connection.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_SEND_WINDOW_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_SEND_WINDOW_H_

#include <deque>
#include <memory>
#include <vector>

#include "common/wire/change_batch.h"
#include "mobility_agent/pipeline/dirty_map.h"

namespace homeward {

// Must run on one strand. Payload is bounded by the receiver's credit, for nothing is to be sealed
// while HasNext(); entries are by `entries_max`, apart from those of one point.
class SendWindow {
 public:
  // `generation` is stamped on all that is sealed.
  SendWindow(uint64_t generation, size_t entries_max);

  // Encrypts what is sealed from now on. Absent: nothing does.
  void SetDataKey(const absl::optional<DataKey>& key, RandomBytes random);
  // What does, and the first position that it did; none before there was any. 0: nothing.
  uint64_t data_key_id() const { return encryptor_ == nullptr ? 0 : encryptor_->key_id(); }
  StreamPosition data_key_from() const { return data_key_from_; }

  // Forgets everything. The next entry is the first of `epoch`.
  void BeginEpoch(uint64_t epoch);
  // Each gives the entry the next position of the epoch and keeps it until it is durable.
  void SealBegin(const EpochBegin& begin);
  StreamPosition SealMarker(const Marker& marker);
  // What the builder has, which is empty afterwards. `kind`: kWrites, kSyncChunk or kSyncEnd.
  void Seal(BatchKind kind, BatchBuilder* builder, const Compression& compression = {});

  // Something is sealed and was not sent on this connection.
  bool HasNext() const { return next_ < entries_.size(); }
  // What goes next; empty when there is nothing.
  SealedBatch Next();
  // On a new connection: the other side holds everything up to `held`. True: what is behind it goes
  // next. False: that is not here whole, so this epoch is over.
  bool ResumeAfter(StreamPosition held);
  // A payload that is spooled is not kept, where it was written is.
  void OnSpooled(StreamPosition spooled);
  void OnDurable(StreamPosition durable);
  // Empties it into `dirty`: all of it must be read again. True: there was the end of a
  // synchronisation, which may never have arrived.
  bool GiveBack(DirtyMap* dirty);

  bool full() const { return entries_.size() >= entries_max_; }
  bool empty() const { return entries_.empty(); }
  // On the disks, of what is kept.
  uint64_t bytes() const;
  // Batch bytes sealed ever.
  uint64_t sealed_bytes() const { return sealed_bytes_; }
  // Of this epoch; none when nothing of it is.
  StreamPosition spooled() const { return spooled_; }

 private:
  struct Entry {
    StreamPosition position;
    BatchKind kind;
    std::vector<BatchExtent> extents;
    SealedBatch payload;  // empty once it is spooled
  };
  BatchHeader NextHeader(BatchKind kind);
  void Keep(const BatchHeader& header, std::vector<BatchExtent> extents, SealedBatch payload);

  // Constant after construction.
  const uint64_t generation_;
  const size_t entries_max_;
  // Touched only on the strand.
  uint64_t epoch_ = 0;
  uint64_t next_sequence_ = 0;
  StreamPosition spooled_;
  std::deque<Entry> entries_;  // in the order of their positions
  size_t next_ = 0;            // into entries_
  std::unique_ptr<PayloadEncryptor> encryptor_;
  StreamPosition data_key_from_;
  uint64_t sealed_bytes_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_SEND_WINDOW_H_
