// Byte spans and fixed-width little-endian fields, the alphabet of every format in docs/formats.
#ifndef HOMEWARD_COMMON_BASE_BYTES_H_
#define HOMEWARD_COMMON_BASE_BYTES_H_

#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace homeward {

using ConstBytes = absl::Span<const uint8_t>;
using MutableBytes = absl::Span<uint8_t>;

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;
inline constexpr uint64_t kTiB = 1024 * kGiB;
// Every offset and length on a disk is a multiple of this.
inline constexpr uint64_t kSectorBytes = 512;

inline ConstBytes AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline MutableBytes Writable(std::string* text) {
  return {reinterpret_cast<uint8_t*>(text->data()), text->size()};
}
inline absl::string_view AsText(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline bool IsZero(ConstBytes bytes) {
  if (bytes.empty()) return true;
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

// Appends little-endian fields to a string.
class FieldWriter {
 public:
  explicit FieldWriter(std::string* out) : out_(out) {}
  void U16(uint16_t value) { Put(value); }
  void U32(uint32_t value) { Put(value); }
  void U64(uint64_t value) { Put(value); }
  void Raw(absl::string_view bytes) { out_->append(bytes.data(), bytes.size()); }

 private:
  template <typename T>
  void Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) out_->push_back(static_cast<char>(value >> (8 * i)));
  }
  std::string* out_;
};

// Reads little-endian fields; after a read past the end ok() is false and values are zero.
class FieldReader {
 public:
  explicit FieldReader(absl::string_view bytes) : rest_(bytes) {}
  uint16_t U16() { return Get<uint16_t>(); }
  uint32_t U32() { return Get<uint32_t>(); }
  uint64_t U64() { return Get<uint64_t>(); }
  absl::string_view Raw(size_t length) {
    if (length > rest_.size()) {
      ok_ = false;
      return {};
    }
    absl::string_view bytes = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return bytes;
  }
  absl::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }

 private:
  template <typename T>
  T Get() {
    absl::string_view bytes = Raw(sizeof(T));
    T value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      value |= static_cast<T>(static_cast<T>(static_cast<uint8_t>(bytes[i])) << (8 * i));
    }
    return value;
  }
  absl::string_view rest_;
  bool ok_ = true;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_BYTES_H_
