// StateRecord: where a replica stands, in a file that never changes its size, so that noting it
// costs one write and no change of the file system. Format: docs/formats/recovery_journal.md.
#ifndef HOMEWARD_MASTER_TARGET_KEEPER_STATE_RECORD_H_
#define HOMEWARD_MASTER_TARGET_KEEPER_STATE_RECORD_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/base/stream_position.h"
#include "common/os/file_system.h"
#include "common/replication/stream_order.h"

namespace homeward {

// 28 bytes, here and in the deltas.
inline constexpr size_t kStateBytes = 28;
std::string EncodeState(const StreamState& state);
bool DecodeState(absl::string_view body, StreamState* state);

// The only writer of its file. Not thread-safe. After a failed Write() every call fails,
// unless it was RESOURCE_EXHAUSTED.
class StateRecord {
 public:
  struct Content {
    uint64_t count = 0;         // of all that was written before, and this
    uint64_t delta_number = 0;  // of the delta that was open
    uint64_t delta_bytes = 0;   // as far as that was durable
    StreamState state;
    std::string recovered_point;  // empty: the replica follows the stream
  };
  // Of the whole file. None: nothing was ever written. DATA_LOSS: what was is damaged.
  static absl::StatusOr<absl::optional<Content>> Decode(absl::string_view file);
  // Creates or opens; file and name are durable on return. DATA_LOSS names the file.
  static absl::StatusOr<std::unique_ptr<StateRecord>> Open(FileSystem& files,
                                                           const std::string& path);
  // What was written last.
  const absl::optional<Content>& content() const { return content_; }
  // Durable on return.
  absl::Status Write(Content content);

 private:
  explicit StateRecord(std::unique_ptr<File> file) : file_(std::move(file)) {}

  const std::unique_ptr<File> file_;
  absl::optional<Content> content_;
  absl::Status broken_;
};

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_KEEPER_STATE_RECORD_H_
