#include "common/wire/change_batch.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

// Of a payload so large parts are compressed first, to see whether that can be.
constexpr size_t kSampledMin = 128 * kKiB;
constexpr size_t kSampleBytes = 16 * kKiB;

constexpr absl::string_view kMagic = "HWB1";
constexpr absl::string_view kEncryptedMagic = "HWB2";  // an envelope stands behind the header
constexpr size_t kChecksumOffset = 48;
constexpr uint32_t kZeroesFlag = 1;

struct RawHeader {
  bool encrypted = false;
  uint16_t kind = 0;
  uint16_t encoding = 0;
  StreamPosition position;
  uint64_t generation = 0;
  uint32_t extent_count = 0;
  uint32_t payload_bytes = 0;
  uint32_t stored_bytes = 0;
  uint64_t checksum = 0;

  size_t head_bytes() const {
    return kBatchHeaderBytes + (encrypted ? kBatchEnvelopeBytes : 0) +
           extent_count * kBatchExtentBytes;
  }
};

// Small batches are kept in memory of their own size.
constexpr size_t kPayloadInPlaceMin = 256 * kKiB;
constexpr size_t kRoomBytesMin = 64 * kKiB;

std::string EncodeHeader(const RawHeader& header) {
  std::string out;
  FieldWriter writer(&out);
  writer.Raw(header.encrypted ? kEncryptedMagic : kMagic);
  writer.U16(header.kind);
  writer.U16(header.encoding);
  writer.U64(header.position.epoch);
  writer.U64(header.position.sequence);
  writer.U64(header.generation);
  writer.U32(header.extent_count);
  writer.U32(header.payload_bytes);
  writer.U32(header.stored_bytes);
  writer.U32(0);
  writer.U64(header.checksum);
  return out;
}

std::string EncodeExtents(const std::vector<BatchExtent>& extents) {
  std::string table;
  table.reserve(extents.size() * kBatchExtentBytes);
  FieldWriter writer(&table);
  for (const BatchExtent& extent : extents) {
    writer.U32(extent.disk);
    writer.U32(extent.zeroes ? kZeroesFlag : 0);
    writer.U64(extent.extent.offset);
    writer.U64(extent.extent.length);
  }
  return table;
}

std::string EncodeEnvelope(const Envelope& envelope) {
  std::string out;
  FieldWriter writer(&out);
  writer.U64(envelope.key_id);
  writer.Raw(AsText(envelope.nonce));
  writer.Raw(AsText(envelope.tag));
  return out;
}

// What an epoch's beginning and a marker carry is for the relay too. It is told, not encrypted.
bool HasContent(uint16_t kind) { return kind == 2 || kind == 3; }

// `out` has the table and the stored payload, in their places behind the head; the payload is
// encrypted there. Fills in what comes before the table.
void SealInPlace(RawHeader header, PayloadEncryptor* encryptor, MutableBytes out) {
  header.checksum = 0;
  header.encrypted = encryptor != nullptr;
  const size_t payload = header.head_bytes();
  const size_t table = payload - header.extent_count * kBatchExtentBytes;
  if (header.encrypted) {
    const std::string told = EncodeHeader(header).substr(0, kChecksumOffset);
    const size_t content = HasContent(header.kind) ? payload : out.size();
    const std::string envelope = EncodeEnvelope(encryptor->Encrypt(
        {AsBytes(told), out.subspan(table, content - table)}, out.subspan(content)));
    std::memcpy(out.data() + kBatchHeaderBytes, envelope.data(), envelope.size());
  }
  header.checksum = Checksum64(AsBytes(EncodeHeader(header)).first(kChecksumOffset),
                               out.subspan(kBatchHeaderBytes));
  const std::string text = EncodeHeader(header);
  std::memcpy(out.data(), text.data(), text.size());
}

SealedBatch SealRaw(RawHeader header, absl::string_view extents, absl::string_view stored,
                    PayloadEncryptor* encryptor) {
  header.encrypted = encryptor != nullptr;
  std::string out;
  out.reserve(header.head_bytes() + stored.size());
  out.resize(header.head_bytes() - extents.size());
  out.append(extents.data(), extents.size());
  out.append(stored.data(), stored.size());
  SealInPlace(header, encryptor, Writable(&out));
  return SealedBatch(std::move(out));
}

absl::Status Corrupt(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("change batch: ", what));
}

// Of a batch of `bytes` that begins so.
absl::Status ReadRawHeader(absl::string_view sealed, size_t bytes, RawHeader* header) {
  FieldReader reader(sealed);
  const absl::string_view magic = reader.Raw(kMagic.size());
  if (magic != kMagic && magic != kEncryptedMagic) return Corrupt("wrong magic");
  header->encrypted = magic == kEncryptedMagic;
  header->kind = reader.U16();
  header->encoding = reader.U16();
  header->position.epoch = reader.U64();
  header->position.sequence = reader.U64();
  header->generation = reader.U64();
  header->extent_count = reader.U32();
  header->payload_bytes = reader.U32();
  header->stored_bytes = reader.U32();
  reader.U32();
  header->checksum = reader.U64();
  if (!reader.ok()) return Corrupt("shorter than its header");
  if (header->kind < 1 || header->kind > 5)
    return Corrupt(absl::StrCat("unknown kind ", header->kind));
  if (header->encoding > 2) return Corrupt(absl::StrCat("unknown encoding ", header->encoding));
  if (header->position.epoch == 0) return Corrupt("epoch 0");
  if ((header->kind == static_cast<uint16_t>(BatchKind::kEpochBegin)) !=
      (header->position.sequence == 0)) {
    return Corrupt("an epoch begins with its epoch begin, and only there");
  }
  if (header->extent_count > kBatchExtentsMax) {
    return Corrupt(absl::StrCat(header->extent_count, " extents, at most ", kBatchExtentsMax));
  }
  if (header->payload_bytes > kBatchPayloadBytesMax ||
      header->stored_bytes > kBatchPayloadBytesMax) {
    return Corrupt(absl::StrCat("a payload of ", header->payload_bytes, " bytes, at most ",
                                kBatchPayloadBytesMax));
  }
  const size_t expected = header->head_bytes() + header->stored_bytes;
  if (bytes != expected) {
    return Corrupt(absl::StrCat(bytes, " bytes where its lengths add up to ", expected));
  }
  return absl::OkStatus();
}

absl::Status ReadRawHeader(absl::string_view sealed, RawHeader* header) {
  return ReadRawHeader(sealed, sealed.size(), header);
}

absl::StatusOr<AlignedBuffer> Decompress(PayloadEncoding encoding, absl::string_view stored,
                                         size_t length) {
  AlignedBuffer out = AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(length));
  if (encoding == PayloadEncoding::kZstd) {
    const size_t n = ZSTD_decompress(out.data(), length, stored.data(), stored.size());
    if (ZSTD_isError(n) || n != length) return Corrupt("zstd payload does not decode");
  } else {
    const int n = LZ4_decompress_safe(stored.data(), reinterpret_cast<char*>(out.data()),
                                      static_cast<int>(stored.size()), static_cast<int>(length));
    if (n < 0 || static_cast<size_t>(n) != length) return Corrupt("lz4 payload does not decode");
  }
  return out;
}

// How many bytes of `out` the result takes; 0: it does not fit there.
size_t CompressInto(absl::string_view plain, const Compression& compression, std::string* out) {
  if (compression.encoding == PayloadEncoding::kZstd) {
    const int level = compression.effort == CompressionEffort::kThorough ? 5 : 3;
    const size_t length =
        ZSTD_compress(out->data(), out->size(), plain.data(), plain.size(), level);
    return ZSTD_isError(length) ? 0 : length;
  }
  return static_cast<size_t>(LZ4_compress_default(
      plain.data(), out->data(), static_cast<int>(plain.size()), static_cast<int>(out->size())));
}

// Whether a part of its beginning, its middle or its end becomes smaller.
bool SamplesCompress(absl::string_view plain, PayloadEncoding encoding) {
  std::string out(kSampleBytes - kSampleBytes / 16, '\0');
  for (const size_t at : {size_t{0}, plain.size() / 2, plain.size() - kSampleBytes}) {
    if (CompressInto(plain.substr(at, kSampleBytes), {encoding}, &out) > 0) return true;
  }
  return false;
}

// Empty where it saves less than an eighth. What looks like it is given up early.
std::string Compressed(absl::string_view plain, const Compression& compression) {
  if (compression.none()) return "";
  if (plain.size() >= kSampledMin && !SamplesCompress(plain, compression.encoding)) return "";
  std::string out(plain.size() - plain.size() / 8, '\0');
  out.resize(CompressInto(plain, compression, &out));
  return out;
}

// Of one that cannot be opened with these keys.
absl::Status NoKey(const DataKeys& keys, const ParsedBatch& batch) {
  const std::string position = batch.header.position.ToString();
  if (keys.generation != 0 && batch.header.generation > keys.generation) {
    return absl::FailedPreconditionError(absl::StrCat(
        "change batch: the one at ", position, " is of generation ", batch.header.generation,
        "; this server waits to be told of that, and of its data key, by the configuration "
        "server"));
  }
  if (!batch.envelope.has_value()) {
    return Corrupt(
        absl::StrCat("the one at ", position, " is not encrypted, and its machine encrypts all"));
  }
  return Corrupt(absl::StrCat("the one at ", position, " is encrypted with data key ",
                              absl::Hex(batch.envelope->key_id, absl::kZeroPad16),
                              ", which this server was not told"));
}

}  // namespace

bool BatchBuilder::Fits(uint64_t payload_bytes) const {
  return extents_.size() < kBatchExtentsMax && payload_bytes <= kBatchPayloadBytesMax &&
         payload_bytes_ + payload_bytes <= kBatchPayloadBytesMax;
}

MutableBytes BatchBuilder::AddData(uint32_t disk, Extent extent) {
  HW_CHECK(Fits(extent.length));
  MakeRoom(payload_bytes_ + extent.length);
  extents_.push_back({disk, false, extent});
  uint8_t* const place = payload() + payload_bytes_;
  payload_bytes_ += extent.length;
  return {place, extent.length};
}

void BatchBuilder::MakeRoom(size_t payload_bytes) {
  const size_t room = memory_.size() == 0 ? 0 : memory_.size() - kHeadBytes;
  if (payload_bytes <= room) return;
  AlignedBuffer larger = AlignedBuffer::Unwritten(
      kHeadBytes + AlignedBuffer::RoundUp(std::max({payload_bytes, 2 * room, kRoomBytesMin})));
  if (payload_bytes_ > 0) std::memcpy(larger.data() + kHeadBytes, payload(), payload_bytes_);
  memory_ = std::move(larger);
}

void BatchBuilder::AddZeroes(uint32_t disk, Extent extent) {
  HW_CHECK(Fits(0));
  extents_.push_back({disk, true, extent});
}

void BatchBuilder::AddContent(uint32_t disk, Extent extent, ConstBytes content) {
  HW_CHECK(content.size() == extent.length);
  if (IsZero(content)) return AddZeroes(disk, extent);
  std::memcpy(AddData(disk, extent).data(), content.data(), content.size());
}

void BatchBuilder::DropLast() {
  HW_CHECK(!extents_.empty());
  if (!extents_.back().zeroes) payload_bytes_ -= extents_.back().extent.length;
  extents_.pop_back();
}

SealedBatch BatchBuilder::Seal(const BatchHeader& header, PayloadEncryptor* encryptor,
                               const Compression& compression) {
  const std::string table = EncodeExtents(extents_);
  const auto payload_bytes = static_cast<uint32_t>(payload_bytes_);
  RawHeader raw{.encrypted = encryptor != nullptr,
                .kind = static_cast<uint16_t>(header.kind),
                .position = header.position,
                .generation = header.generation,
                .extent_count = static_cast<uint32_t>(extents_.size()),
                .payload_bytes = payload_bytes,
                .stored_bytes = payload_bytes};
  extents_.clear();
  payload_bytes_ = 0;
  const absl::string_view content(
      payload_bytes == 0 ? "" : reinterpret_cast<const char*>(payload()), payload_bytes);
  if (const std::string stored = Compressed(content, compression); !stored.empty()) {
    raw.encoding = static_cast<uint16_t>(compression.encoding);
    raw.stored_bytes = static_cast<uint32_t>(stored.size());
    return SealRaw(raw, table, stored, encryptor);
  }
  if (payload_bytes < kPayloadInPlaceMin) return SealRaw(raw, table, content, encryptor);
  std::memcpy(payload() - table.size(), table.data(), table.size());
  const size_t offset = kHeadBytes - raw.head_bytes();
  const size_t bytes = raw.head_bytes() + payload_bytes;
  SealInPlace(raw, encryptor, memory_.Part(offset, bytes));
  return SealedBatch(std::move(memory_), offset, bytes);
}

namespace {

absl::Status VerifyChecksum(absl::string_view sealed, const RawHeader& header) {
  const ConstBytes bytes = AsBytes(sealed);
  if (Checksum64(bytes.subspan(0, kChecksumOffset), bytes.subspan(kBatchHeaderBytes)) ==
      header.checksum) {
    return absl::OkStatus();
  }
  return Corrupt(absl::StrCat("checksum mismatch at position ", header.position.ToString()));
}

absl::Status ParseVerified(absl::string_view sealed, const RawHeader& header, ParsedBatch* out) {
  out->header = {static_cast<BatchKind>(header.kind), header.position, header.generation};
  out->encoding = static_cast<PayloadEncoding>(header.encoding);
  out->sealed = sealed;
  out->payload_bytes = header.payload_bytes;
  out->extents.clear();
  out->extents.reserve(header.extent_count);
  FieldReader reader(sealed.substr(kBatchHeaderBytes));
  out->envelope.reset();
  if (header.encrypted) {
    Envelope& envelope = out->envelope.emplace();
    envelope.key_id = reader.U64();
    const absl::string_view nonce = reader.Raw(kNonceBytes), tag = reader.Raw(kTagBytes);
    std::copy(nonce.begin(), nonce.end(), envelope.nonce.begin());
    std::copy(tag.begin(), tag.end(), envelope.tag.begin());
  }
  uint64_t content_bytes = 0;
  for (uint32_t i = 0; i < header.extent_count; ++i) {
    BatchExtent extent;
    extent.disk = reader.U32();
    extent.zeroes = (reader.U32() & kZeroesFlag) != 0;
    extent.extent = {reader.U64(), reader.U64()};
    const Extent& range = extent.extent;
    if (range.length == 0 || range.length % kSectorBytes != 0 || range.offset % kSectorBytes != 0 ||
        range.offset + range.length < range.offset) {
      return Corrupt(
          absl::StrCat("extent ", range.offset, "+", range.length, " is not whole sectors"));
    }
    if (!extent.zeroes) {
      if (range.length > kBatchPayloadBytesMax) return Corrupt("an extent longer than any payload");
      content_bytes += range.length;
    }
    out->extents.push_back(extent);
  }
  if (HasContent(header.kind) && content_bytes != header.payload_bytes) {
    return Corrupt("extents and payload differ in length");
  }
  out->payload = reader.rest();
  if (out->encoding == PayloadEncoding::kPlain && header.stored_bytes != header.payload_bytes) {
    return Corrupt("a plain payload with two lengths");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ParseBatch(absl::string_view sealed, bool decode, ParsedBatch* out) {
  RawHeader header;
  HW_RETURN_IF_ERROR(ReadRawHeader(sealed, &header));
  HW_RETURN_IF_ERROR(VerifyChecksum(sealed, header));
  HW_RETURN_IF_ERROR(ParseVerified(sealed, header, out));
  return decode ? DecodeBatch(DataKeys(), out) : absl::OkStatus();
}

absl::Status ParseForDecoding(absl::string_view sealed, ParsedBatch* out) {
  RawHeader header;
  HW_RETURN_IF_ERROR(ReadRawHeader(sealed, &header));
  if (!header.encrypted) HW_RETURN_IF_ERROR(VerifyChecksum(sealed, header));
  return ParseVerified(sealed, header, out);
}

absl::Status DecodeBatch(const DataKeys& keys, ParsedBatch* batch, MutableBytes in_place) {
  const auto kind = static_cast<uint16_t>(batch->header.kind);
  AlignedBuffer decrypted;
  if (!batch->envelope.has_value()) {
    if (!keys.takes_plain) return NoKey(keys, *batch);
  } else {
    const DataKey* const key = keys.Find(batch->envelope->key_id);
    if (key == nullptr) return NoKey(keys, *batch);
    const ConstBytes sealed = AsBytes(batch->sealed);
    const size_t payload = sealed.size() - batch->payload.size();
    const size_t table = kBatchHeaderBytes + kBatchEnvelopeBytes;
    const size_t content = HasContent(kind) ? payload : sealed.size();
    const size_t content_bytes = sealed.size() - content;
    MutableBytes out;
    if (!in_place.empty()) {
      out = in_place.subspan(content);
    } else {
      decrypted = AlignedBuffer::Unwritten(AlignedBuffer::RoundUp(content_bytes));
      out = decrypted.Part(0, content_bytes);
    }
    const absl::Status opened =
        Decrypt(*key, *batch->envelope,
                {sealed.first(kChecksumOffset), sealed.subspan(table, content - table)},
                sealed.subspan(content), out);
    if (!opened.ok()) {
      return Corrupt(absl::StrCat("the one at ", batch->header.position.ToString(),
                                  " is not as its machine sealed it: ", opened.message()));
    }
    if (HasContent(kind)) batch->payload = AsText(out);
  }
  if (batch->encoding == PayloadEncoding::kPlain) {
    batch->decoded = std::move(decrypted);
    return absl::OkStatus();
  }
  HW_ASSIGN_OR_RETURN(batch->decoded,
                      Decompress(batch->encoding, batch->payload, batch->payload_bytes));
  batch->payload = AsText(batch->decoded.Part(0, batch->payload_bytes));
  return absl::OkStatus();
}

namespace {

absl::StatusOr<BatchHeader> PeekBatchHeader(absl::string_view begin, size_t bytes) {
  RawHeader header;
  HW_RETURN_IF_ERROR(ReadRawHeader(begin, bytes, &header));
  return BatchHeader{static_cast<BatchKind>(header.kind), header.position, header.generation};
}

}  // namespace

absl::StatusOr<BatchHeader> PeekBatchHeader(absl::string_view sealed) {
  return PeekBatchHeader(sealed, sealed.size());
}

absl::StatusOr<BatchHeader> PeekBatchHeader(const SealedBatch& sealed) {
  return PeekBatchHeader(sealed.head(), sealed.size());
}

absl::StatusOr<size_t> BatchHeadBytes(const SealedBatch& sealed) {
  RawHeader header;
  HW_RETURN_IF_ERROR(ReadRawHeader(sealed.head(), sealed.size(), &header));
  return header.head_bytes();
}

bool PayloadIsEncrypted(const SealedBatch& sealed) {
  RawHeader header;
  return ReadRawHeader(sealed.head(), sealed.size(), &header).ok() && header.encrypted &&
         HasContent(header.kind);
}

SealedBatch CompressBatch(absl::string_view sealed, const Compression& compression) {
  RawHeader header;
  if (!ReadRawHeader(sealed, &header).ok() || header.encoding != 0 || header.encrypted) return {};
  const absl::string_view table =
      sealed.substr(kBatchHeaderBytes, header.extent_count * kBatchExtentBytes);
  const std::string stored =
      Compressed(sealed.substr(kBatchHeaderBytes + table.size()), compression);
  if (stored.empty()) return {};
  header.encoding = static_cast<uint16_t>(compression.encoding);
  header.stored_bytes = static_cast<uint32_t>(stored.size());
  return SealRaw(header, table, stored, nullptr);
}

namespace {

SealedBatch SealPayload(const BatchHeader& header, absl::string_view payload,
                        PayloadEncryptor* encryptor) {
  const auto bytes = static_cast<uint32_t>(payload.size());
  return SealRaw({.kind = static_cast<uint16_t>(header.kind),
                  .position = header.position,
                  .generation = header.generation,
                  .payload_bytes = bytes,
                  .stored_bytes = bytes},
                 "", payload, encryptor);
}

}  // namespace

SealedBatch SealEpochBegin(BatchHeader header, const EpochBegin& begin,
                           PayloadEncryptor* encryptor) {
  header.kind = BatchKind::kEpochBegin;
  std::string payload;
  FieldWriter writer(&payload);
  writer.U64(begin.continues_from.epoch);
  writer.U64(begin.continues_from.sequence);
  writer.U64(begin.fresh_replica ? 1 : 0);
  if (begin.begun.has_value()) {
    HW_CHECK(begin.begun->size() <= kBegunEpochsMax);
    writer.U64(begin.begun->size());
    for (const uint64_t epoch : *begin.begun) writer.U64(epoch);
  }
  return SealPayload(header, payload, encryptor);
}

absl::StatusOr<EpochBegin> ParseEpochBegin(const ParsedBatch& batch) {
  FieldReader reader(batch.payload);
  EpochBegin begin;
  begin.continues_from = {reader.U64(), reader.U64()};
  begin.fresh_replica = (reader.U64() & 1) != 0;
  if (!reader.rest().empty()) {
    const uint64_t count = reader.U64();
    if (count > kBegunEpochsMax) return Corrupt("malformed epoch begin");
    begin.begun.emplace();
    for (uint64_t i = 0; i < count; ++i) begin.begun->push_back(reader.U64());
  }
  if (!reader.ok() || batch.header.position.sequence != 0) return Corrupt("malformed epoch begin");
  return begin;
}

SealedBatch SealMarker(BatchHeader header, const Marker& marker, PayloadEncryptor* encryptor) {
  header.kind = BatchKind::kMarker;
  return SealPayload(header, EncodeMarker(marker), encryptor);
}

absl::StatusOr<Marker> ParseMarker(const ParsedBatch& batch) { return DecodeMarker(batch.payload); }

std::string EncodeMarker(const Marker& marker) {
  HW_CHECK(marker.id.size() <= kMarkerIdBytesMax);
  std::string out;
  FieldWriter writer(&out);
  writer.U32(static_cast<uint32_t>(marker.kind));
  writer.U32(static_cast<uint32_t>(marker.id.size()));
  writer.U64(static_cast<uint64_t>(absl::ToUnixMicros(marker.time)));
  writer.Raw(marker.id);
  if (marker.consistency == Consistency::kUnknown) return out;
  HW_CHECK(marker.how.size() <= kMarkerHowBytesMax);
  writer.U32(static_cast<uint32_t>(marker.consistency));
  writer.U32(static_cast<uint32_t>(marker.how.size()));
  writer.Raw(marker.how);
  return out;
}

absl::StatusOr<Marker> DecodeMarker(absl::string_view bytes) {
  FieldReader reader(bytes);
  const uint32_t kind = reader.U32();
  const uint32_t id_bytes = reader.U32();
  Marker marker;
  marker.time = absl::FromUnixMicros(static_cast<int64_t>(reader.U64()));
  marker.id = std::string(reader.Raw(id_bytes));
  if (!reader.ok() || id_bytes > kMarkerIdBytesMax || kind < 1 || kind > 2) {
    return Corrupt("malformed marker");
  }
  marker.kind = static_cast<PointKind>(kind);
  if (reader.rest().empty()) return marker;
  const uint32_t consistency = reader.U32();
  const uint32_t how_bytes = reader.U32();
  marker.how = std::string(reader.Raw(how_bytes));
  if (!reader.ok() || how_bytes > kMarkerHowBytesMax) return Corrupt("malformed marker");
  // Nobody here can vouch for a kind that a newer sender knows.
  marker.consistency = static_cast<Consistency>(
      std::clamp(consistency, 1U, static_cast<uint32_t>(Consistency::kNotOneInstant)));
  return marker;
}

}  // namespace homeward
