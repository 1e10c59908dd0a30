#include "common/wire/change_batch.h"

#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

std::string SampleBatch() {
  BatchBuilder builder;
  const MutableBytes place = builder.AddData(0, {4096, 1024});
  for (size_t i = 0; i < place.size(); ++i) place[i] = static_cast<uint8_t>(i / 100);
  builder.AddZeroes(1, {0, kMiB});
  return std::string(builder.Seal({BatchKind::kWrites, {3, 7}, 2}).view());
}

TEST(ChangeBatch, HasTheGoldenBytes) {
  testing::ExpectGolden("change_batch_v1.bin", SampleBatch());
}

TEST(ChangeBatch, ComesBackAsItWasSealed) {
  const std::string sealed = SampleBatch();
  ParsedBatch batch;
  ASSERT_TRUE(ParseBatch(sealed, true, &batch).ok());
  EXPECT_EQ(batch.header.position, (StreamPosition{3, 7}));
  EXPECT_EQ(batch.header.generation, 2);
  ASSERT_EQ(batch.extents.size(), 2);
  EXPECT_EQ(batch.extents[0].extent, (Extent{4096, 1024}));
  EXPECT_TRUE(batch.extents[1].zeroes);
  EXPECT_EQ(batch.payload.size(), 1024);
  EXPECT_EQ(batch.payload[1023], 10);
}

TEST(ChangeBatch, EveryFlippedByteIsFound) {
  const std::string sealed = SampleBatch();
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string damaged = sealed;
    damaged[i] ^= 1;
    ParsedBatch batch;
    EXPECT_EQ(ParseBatch(damaged, true, &batch).code(), absl::StatusCode::kDataLoss)
        << "byte " << i;
  }
}

TEST(ChangeBatch, EveryTruncationIsFound) {
  const std::string sealed = SampleBatch();
  for (size_t length = 0; length < sealed.size(); ++length) {
    ParsedBatch batch;
    EXPECT_FALSE(ParseBatch(absl::string_view(sealed).substr(0, length), true, &batch).ok());
  }
}

TEST(ChangeBatch, AnAbsurdLengthIsRefusedBeforeItIsBelieved) {
  std::string sealed = SampleBatch();
  sealed.replace(36, 4, "\xff\xff\xff\x7f");
  ParsedBatch batch;
  const absl::Status status = ParseBatch(sealed, true, &batch);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.message().find("at most"), absl::string_view::npos) << status;
}

TEST(ChangeBatch, CompressionKeepsTheContentAndTheHeader) {
  for (const PayloadEncoding encoding : {PayloadEncoding::kZstd, PayloadEncoding::kLz4}) {
    const std::string sealed = SampleBatch();
    const std::string compressed(CompressBatch(sealed, {encoding}).view());
    ASSERT_FALSE(compressed.empty());
    EXPECT_LT(compressed.size(), sealed.size());
    ParsedBatch plain, decoded;
    ASSERT_TRUE(ParseBatch(sealed, true, &plain).ok());
    ASSERT_TRUE(ParseBatch(compressed, true, &decoded).ok());
    EXPECT_EQ(decoded.payload, plain.payload);
    EXPECT_EQ(decoded.header.position, plain.header.position);
    EXPECT_TRUE(CompressBatch(compressed, {encoding}).empty()) << "compressed twice";
  }
}

TEST(ChangeBatch, WhatIsSealedIsCompressedWhereThatSavesSomething) {
  const auto sealed = [](size_t bytes, bool text, PayloadEncoding encoding) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {0, bytes});
    uint64_t random = 1;
    for (size_t i = 0; i < bytes; ++i) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      place[i] = text ? static_cast<uint8_t>('a' + i / 7 % 19) : static_cast<uint8_t>(random >> 40);
    }
    return builder.Seal({BatchKind::kWrites, {1, 1}, 1}, nullptr, {encoding});
  };
  for (const PayloadEncoding encoding : {PayloadEncoding::kZstd, PayloadEncoding::kLz4}) {
    for (const size_t bytes : {8 * kKiB, uint64_t{kMiB}}) {
      const SealedBatch plain = sealed(bytes, true, PayloadEncoding::kPlain);
      const SealedBatch text = sealed(bytes, true, encoding);
      EXPECT_LT(text.size(), bytes / 2);
      ParsedBatch batch, wanted;
      ASSERT_TRUE(ParseBatch(text.view(), true, &batch).ok());
      ASSERT_TRUE(ParseBatch(plain.view(), true, &wanted).ok());
      EXPECT_EQ(batch.encoding, encoding);
      EXPECT_TRUE(batch.payload == wanted.payload);
      EXPECT_EQ(sealed(bytes, false, encoding), sealed(bytes, false, PayloadEncoding::kPlain));
    }
  }
  EXPECT_EQ(
      BatchBuilder().Seal({BatchKind::kSyncEnd, {1, 9}, 1}, nullptr, {PayloadEncoding::kZstd}),
      BatchBuilder().Seal({BatchKind::kSyncEnd, {1, 9}, 1}));
}

TEST(ChangeBatch, ALongPayloadIsSealedWhereItWasPutAndLiesWhereDisksCanTakeIt) {
  BatchBuilder builder;
  for (uint64_t i = 0; i < 3; ++i) {
    const MutableBytes place = builder.AddData(0, {i * kMiB, 300 * kKiB});
    std::memset(place.data(), static_cast<int>('a' + i), place.size());
  }
  builder.DropLast();
  const SealedBatch sealed = builder.Seal({BatchKind::kSyncChunk, {1, 1}, 1});
  EXPECT_TRUE(builder.empty());
  ParsedBatch batch;
  ASSERT_TRUE(ParseBatch(sealed.view(), true, &batch).ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(batch.payload.data()) % AlignedBuffer::kAlignment, 0u);
  EXPECT_EQ(batch.payload, std::string(300 * kKiB, 'a') + std::string(300 * kKiB, 'b'));
  EXPECT_EQ(*BatchHeadBytes(sealed), sealed.size() - batch.payload.size());
}

TEST(ChangeBatch, AMarkerSaysHowItsInstantWasFound) {
  Marker marker{PointKind::kCrashConsistent, absl::FromUnixSeconds(1700000000), "p-1",
                Consistency::kFrozen, "stood still: ext4 on /"};
  const std::string bytes = EncodeMarker(marker);
  const absl::StatusOr<Marker> decoded = DecodeMarker(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->consistency, Consistency::kFrozen);
  EXPECT_EQ(decoded->how, marker.how);
  const size_t label = bytes.size() - marker.how.size() - 8;
  for (size_t cut = label + 1; cut < bytes.size(); ++cut)
    EXPECT_FALSE(DecodeMarker(absl::string_view(bytes).substr(0, cut)).ok()) << cut;
  EXPECT_TRUE(DecodeMarker(absl::string_view(bytes).substr(0, label)).ok()) << "an older sender's";
  std::string newer = bytes;
  newer[label] = 9;
  EXPECT_EQ(DecodeMarker(newer)->consistency, Consistency::kNotOneInstant);
  std::string too_long = bytes;
  too_long[label + 5] = 3;
  EXPECT_FALSE(DecodeMarker(too_long).ok());
}

TEST(ChangeBatch, MarkerAndEpochBeginComeBack) {
  const Marker marker{PointKind::kApplicationConsistent, absl::FromUnixSeconds(1700000000), "p-1"};
  ParsedBatch batch;
  const SealedBatch sealed_marker = SealMarker({BatchKind::kMarker, {1, 5}, 1}, marker);
  ASSERT_TRUE(ParseBatch(sealed_marker.view(), true, &batch).ok());
  const absl::StatusOr<Marker> parsed = ParseMarker(batch);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->id, "p-1");
  EXPECT_EQ(parsed->time, marker.time);
  EXPECT_EQ(parsed->consistency, Consistency::kUnknown) << "as older senders leave it";
  ParsedBatch begin_batch;
  const SealedBatch begin =
      SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 1}, {{1, 5}, true, {{7, 9}}});
  ASSERT_TRUE(ParseBatch(begin.view(), true, &begin_batch).ok());
  const absl::StatusOr<EpochBegin> epoch = ParseEpochBegin(begin_batch);
  ASSERT_TRUE(epoch.ok());
  EXPECT_EQ(epoch->continues_from, (StreamPosition{1, 5}));
  EXPECT_TRUE(epoch->fresh_replica);
  EXPECT_EQ(*epoch->begun, (std::vector<uint64_t>{7, 9}));
  const SealedBatch older = SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 1}, {{1, 5}, true, {}});
  ASSERT_TRUE(ParseBatch(older.view(), true, &begin_batch).ok());
  EXPECT_FALSE(ParseEpochBegin(begin_batch)->begun.has_value());
}

}  // namespace
}  // namespace homeward
