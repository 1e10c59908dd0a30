// Pieces: content that lies in several places, sent and written as if it lay in one.
#ifndef HOMEWARD_COMMON_BASE_PIECES_H_
#define HOMEWARD_COMMON_BASE_PIECES_H_

#include <cstdint>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"

namespace homeward {

// The bytes are the caller's, and outlive it. No piece is empty.
class Pieces {
 public:
  Pieces() = default;
  Pieces(absl::string_view content) { Add(content); }  // NOLINT: a piece is content
  Pieces(const std::string& content) : Pieces(absl::string_view(content)) {}  // NOLINT
  Pieces(std::string&& content) = delete;                                     // it would be gone
  Pieces(const char* content) : Pieces(absl::string_view(content)) {}         // NOLINT

  void Add(absl::string_view content) {
    if (!content.empty()) pieces_.push_back(content);
    size_ += content.size();
  }
  void Add(const Pieces& content) {
    for (const absl::string_view piece : content) Add(piece);
  }

  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  using Place = absl::InlinedVector<absl::string_view, 1>::const_iterator;
  Place begin() const { return pieces_.begin(); }
  Place end() const { return pieces_.end(); }

  // Requires: `offset` and `length` lie within it.
  Pieces Part(uint64_t offset, uint64_t length) const {
    Pieces part;
    for (const absl::string_view piece : pieces_) {
      if (offset < piece.size()) {
        part.Add(piece.substr(offset, length - part.size()));
        if (part.size() == length) break;
        offset = 0;
      } else {
        offset -= piece.size();
      }
    }
    return part;
  }
  std::string Joined() const {
    std::string joined;
    joined.reserve(size_);
    for (const absl::string_view piece : pieces_) joined.append(piece.data(), piece.size());
    return joined;
  }

 private:
  absl::InlinedVector<absl::string_view, 1> pieces_;
  uint64_t size_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_PIECES_H_
