// ChangeBatch: the sealed unit of replication. Format: docs/formats/change_batch.md.
#ifndef HOMEWARD_COMMON_WIRE_CHANGE_BATCH_H_
#define HOMEWARD_COMMON_WIRE_CHANGE_BATCH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "common/base/bytes.h"
#include "common/base/extent_set.h"
#include "common/base/stream_position.h"
#include "common/cipher/payload_cipher.h"
#include "common/wire/sealed_batch.h"

namespace homeward {

inline constexpr uint32_t kBatchExtentsMax = 4096;
inline constexpr uint32_t kBatchPayloadBytesMax = 4 * kMiB;
inline constexpr size_t kBatchHeaderBytes = 56;
inline constexpr size_t kBatchEnvelopeBytes = 8 + kNonceBytes + kTagBytes;
inline constexpr size_t kBatchExtentBytes = 24;
// What comes before the payload is never larger, nor is a sealed batch.
inline constexpr size_t kBatchHeadBytesMax =
    kBatchHeaderBytes + kBatchEnvelopeBytes + kBatchExtentsMax * kBatchExtentBytes;
inline constexpr size_t kBatchBytesMax = kBatchHeadBytesMax + kBatchPayloadBytesMax;

enum class BatchKind : uint16_t {
  kEpochBegin = 1,
  kWrites = 2,
  kSyncChunk = 3,
  kSyncEnd = 4,
  kMarker = 5
};
enum class PayloadEncoding : uint16_t { kPlain = 0, kZstd = 1, kLz4 = 2 };
// For zstd: about 200, or 100 and 3 % smaller, MB of real files a second and core.
enum class CompressionEffort { kQuick, kThorough };
// Of a payload. kPlain: it is not compressed.
struct Compression {
  PayloadEncoding encoding = PayloadEncoding::kPlain;
  CompressionEffort effort = CompressionEffort::kQuick;

  bool none() const { return encoding == PayloadEncoding::kPlain; }
  friend bool operator==(const Compression&, const Compression&) = default;
};

struct BatchExtent {
  uint32_t disk = 0;    // index into the machine's disk list
  bool zeroes = false;  // reads as zeroes; carries no payload
  Extent extent;
};

struct BatchHeader {
  BatchKind kind = BatchKind::kWrites;
  StreamPosition position;
  uint64_t generation = 0;
};

// Collects extents and their content, then seals them around it: header and table are written in
// front of the payload, which stays where it was put. Not thread-safe.
class BatchBuilder {
 public:
  // Whether `payload_bytes` more in one extent still fit.
  bool Fits(uint64_t payload_bytes) const;
  // Appends an extent with content and returns where the caller writes its `extent.length` bytes;
  // the place is valid until the next call. Requires: Fits(extent.length).
  MutableBytes AddData(uint32_t disk, Extent extent);
  // Requires: Fits(0).
  void AddZeroes(uint32_t disk, Extent extent);
  // Appends an extent with this content, as zeroes when it is. Requires: Fits(extent.length), and
  // that there are as many bytes.
  void AddContent(uint32_t disk, Extent extent, ConstBytes content);
  // Takes back the newest extent. The bytes that were written for it can be read until a call needs
  // their place.
  void DropLast();

  bool empty() const { return extents_.empty(); }
  size_t payload_bytes() const { return payload_bytes_; }
  const std::vector<BatchExtent>& extents() const { return extents_; }

  // The sealed bytes; the builder is empty again. `encryptor` null: anybody can read the payload.
  // It is compressed where that saves an eighth or more.
  SealedBatch Seal(const BatchHeader& header, PayloadEncryptor* encryptor = nullptr,
                   const Compression& compression = {});

 private:
  // Room for header and table lies before the payload, which begins at a multiple of
  // AlignedBuffer::kAlignment: disks are read straight into it.
  static constexpr size_t kHeadBytes = AlignedBuffer::RoundUp(kBatchHeadBytesMax);
  uint8_t* payload() const { return memory_.data() + kHeadBytes; }
  void MakeRoom(size_t payload_bytes);

  std::vector<BatchExtent> extents_;
  AlignedBuffer memory_;
  size_t payload_bytes_ = 0;
};

// A verified batch. `payload` is decoded content; it points into the sealed bytes or into
// `decoded`.
struct ParsedBatch {
  BatchHeader header;
  PayloadEncoding encoding = PayloadEncoding::kPlain;
  // It was encrypted. What it says is its machine's word only after DecodeBatch().
  absl::optional<Envelope> envelope;
  std::vector<BatchExtent> extents;
  absl::string_view payload;
  AlignedBuffer decoded;
  absl::string_view sealed;    // all of it
  uint32_t payload_bytes = 0;  // when decoded

  ParsedBatch() = default;
  ParsedBatch(const ParsedBatch&) = delete;
  ParsedBatch& operator=(const ParsedBatch&) = delete;
};

// Verifies and parses. DATA_LOSS says what is wrong. `sealed` must outlive `out`. Decodes the
// payload unless `decode` is false; then only the checksum is verified and `payload` is as stored.
// An encrypted one cannot be decoded so.
absl::Status ParseBatch(absl::string_view sealed, bool decode, ParsedBatch* out);

// As that without decoding. Of an encrypted one the checksum is not looked at: DecodeBatch(), which
// verifies all of it, must follow here or where it is sent.
absl::Status ParseForDecoding(absl::string_view sealed, ParsedBatch* out);

// Decodes the payload of a batch that was parsed without: the content that its machine encrypted
// with one of `keys`, if any, for this very header and these extents.
// DATA_LOSS: it is not, there is no such key, or it is not encrypted and would have to be.
// FAILED_PRECONDITION: there may be such a key: it is of a later generation than `keys`.
// `in_place`: all of the sealed batch, when what is decrypted may be written over it.
absl::Status DecodeBatch(const DataKeys& keys, ParsedBatch* batch, MutableBytes in_place = {});

// The header alone, without verifying the checksum. For bytes that this process sealed or verified
// before.
absl::StatusOr<BatchHeader> PeekBatchHeader(absl::string_view sealed);
absl::StatusOr<BatchHeader> PeekBatchHeader(const SealedBatch& sealed);

// How many bytes come before the payload. As PeekBatchHeader().
absl::StatusOr<size_t> BatchHeadBytes(const SealedBatch& sealed);
// Whether all of its payload is encrypted. As PeekBatchHeader(); false for what is no batch.
bool PayloadIsEncrypted(const SealedBatch& sealed);

// The same batch with its payload compressed, or nothing when that saves less than an eighth or the
// payload is compressed already. Requires: `sealed` was verified.
SealedBatch CompressBatch(absl::string_view sealed, const Compression& compression);

inline constexpr size_t kBegunEpochsMax = 64;
struct EpochBegin {
  StreamPosition continues_from = {};  // none(): continuity was lost, a synchronisation follows
  bool fresh_replica = false;          // the sender takes the replica to be all zeroes
  // The epochs that the sender began since continues_from, oldest first. A replica that follows any
  // other epoch has seen an incarnation of the machine that is over, as when it was reverted to a
  // snapshot. Nothing: a sender of protocol 1.2 or older, which does not say.
  absl::optional<std::vector<uint64_t>> begun = absl::nullopt;
};
SealedBatch SealEpochBegin(BatchHeader header, const EpochBegin& begin,
                           PayloadEncryptor* encryptor = nullptr);
absl::StatusOr<EpochBegin> ParseEpochBegin(const ParsedBatch& batch);

enum class PointKind : uint32_t { kCrashConsistent = 1, kApplicationConsistent = 2 };
// How it is known that a point is one instant. As types.v1.Consistency.
enum class Consistency : uint32_t {
  kUnknown = 0,      // a sender of protocol 1.7 or older, which does not say
  kFrozen = 1,       // what is on the disks stood still, and nothing was seen to write
  kUndisturbed = 2,  // something could not be frozen, but nothing was seen to write
  kWriteOrder = 3,   // between two writes that were captured in order
  kNotOneInstant = 4
};
inline constexpr size_t kMarkerIdBytesMax = 64;
inline constexpr size_t kMarkerHowBytesMax = 512;
struct Marker {
  PointKind kind = PointKind::kCrashConsistent;
  absl::Time time = {};
  std::string id = {};  // at most 64 bytes
  Consistency consistency = Consistency::kUnknown;
  std::string how = {};  // for people; at most kMarkerHowBytesMax
  uint64_t number = 0;   // of who took it, from 1, in order; does not travel
};
SealedBatch SealMarker(BatchHeader header, const Marker& marker,
                       PayloadEncryptor* encryptor = nullptr);
absl::StatusOr<Marker> ParseMarker(const ParsedBatch& batch);
// For journals that keep markers.
std::string EncodeMarker(const Marker& marker);
absl::StatusOr<Marker> DecodeMarker(absl::string_view bytes);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_WIRE_CHANGE_BATCH_H_
