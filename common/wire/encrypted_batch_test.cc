// Batches that a machine encrypts: what their two ends, whoever passes them on, and whoever forges
// them make of them.
#include "common/wire/change_batch.h"
#include "common/wire/checksum.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;

const DataKey kBatchKey{0x1122334455667788, std::string(kDataKeyBytes, 'k')};
const DataKeys kBatchKeys{{kBatchKey}, /*takes_plain=*/false};

// The same each time.
void NotRandom(MutableBytes out) { std::fill(out.begin(), out.end(), 1); }

std::string SampleUnder(PayloadEncryptor* encryptor, size_t bytes = 1024) {
  BatchBuilder builder;
  const MutableBytes place = builder.AddData(0, {4096, bytes});
  for (size_t i = 0; i < place.size(); ++i) place[i] = static_cast<uint8_t>(i / 100);
  builder.AddZeroes(1, {0, kMiB});
  return std::string(builder.Seal({BatchKind::kWrites, {3, 7}, 2}, encryptor).view());
}

std::string EncryptedSample(size_t bytes = 1024) {
  PayloadEncryptor encryptor(kBatchKey, NotRandom);
  return SampleUnder(&encryptor, bytes);
}

absl::Status OpenBatch(absl::string_view sealed, const DataKeys& keys, ParsedBatch* batch) {
  const absl::Status parsed = ParseBatch(sealed, /*decode=*/false, batch);
  return parsed.ok() ? DecodeBatch(keys, batch) : parsed;
}

// As somebody on the way can make it: no secret is in it.
void MakeChecksumRight(std::string* sealed) {
  const ConstBytes bytes = AsBytes(*sealed);
  std::string checksum;
  FieldWriter(&checksum).U64(Checksum64(bytes.first(48), bytes.subspan(kBatchHeaderBytes)));
  sealed->replace(48, 8, checksum);
}

TEST(EncryptedBatch, HasTheGoldenBytes) {
  testing::ExpectGolden("change_batch_v2.bin", EncryptedSample());
}

TEST(EncryptedBatch, ComesBackAsItWasSealed) {
  for (const size_t bytes : {size_t{512}, size_t{1024}, size_t{kMiB}}) {
    const std::string sealed = EncryptedSample(bytes), plain = SampleUnder(nullptr, bytes);
    ParsedBatch batch, wanted;
    ASSERT_TRUE(OpenBatch(sealed, kBatchKeys, &batch).ok()) << bytes;
    ASSERT_TRUE(ParseBatch(plain, true, &wanted).ok());
    EXPECT_TRUE(batch.payload == wanted.payload) << bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(batch.payload.data()) % AlignedBuffer::kAlignment, 0u);
    EXPECT_EQ(batch.header.position, (StreamPosition{3, 7}));
    EXPECT_EQ(batch.extents.size(), 2u);
    EXPECT_EQ(*BatchHeadBytes(SealedBatch(sealed)), sealed.size() - bytes);
  }
}

TEST(EncryptedBatch, IsDecryptedWhereItLiesWhenNobodyElseHasIt) {
  const std::string bytes = EncryptedSample();
  BatchMemory memory(*BatchHeadBytes(SealedBatch(bytes)), bytes.size());
  std::copy(bytes.begin(), bytes.end(), memory.Part(0, bytes.size()).begin());
  SealedBatch sealed = memory.Take();
  {
    const SealedBatch another = sealed;
    EXPECT_TRUE(sealed.Sole().empty());
  }
  EXPECT_TRUE(SealedBatch(bytes).Sole().empty()) << "where direct I/O does not take it";
  const MutableBytes all = sealed.Sole();
  ASSERT_EQ(AsText(all), bytes);
  ParsedBatch batch, wanted;
  ASSERT_TRUE(ParseForDecoding(sealed.view(), &batch).ok());
  ASSERT_TRUE(DecodeBatch(kBatchKeys, &batch, all).ok());
  ASSERT_TRUE(OpenBatch(bytes, kBatchKeys, &wanted).ok());
  EXPECT_EQ(batch.payload, wanted.payload);
  EXPECT_EQ(batch.payload.data(), sealed.view().data() + sealed.size() - batch.payload.size());
}

TEST(EncryptedBatch, WhatIsCompressedIsEncryptedAfterwards) {
  PayloadEncryptor encryptor(kBatchKey, NotRandom);
  BatchBuilder builder;
  const MutableBytes place = builder.AddData(0, {4096, kMiB});
  for (size_t i = 0; i < place.size(); ++i) place[i] = static_cast<uint8_t>(i / 100);
  const std::string content(AsText(place));
  const SealedBatch sealed =
      builder.Seal({BatchKind::kWrites, {3, 7}, 2}, &encryptor, {PayloadEncoding::kZstd});
  EXPECT_LT(sealed.size(), kMiB / 4);
  ParsedBatch batch;
  ASSERT_TRUE(OpenBatch(sealed.view(), kBatchKeys, &batch).ok());
  EXPECT_TRUE(batch.payload == content);
  EXPECT_TRUE(PayloadIsEncrypted(sealed));
}

TEST(EncryptedBatch, WhoPassesItOnSeesWhatItIsAndNotWhatIsInIt) {
  const std::string sealed = EncryptedSample();
  ParsedBatch plain;
  const std::string in_the_clear = SampleUnder(nullptr);
  ASSERT_TRUE(ParseBatch(in_the_clear, true, &plain).ok());
  ParsedBatch batch;
  ASSERT_TRUE(ParseBatch(sealed, /*decode=*/false, &batch).ok());
  EXPECT_EQ(batch.header.position, (StreamPosition{3, 7}));
  EXPECT_EQ(batch.extents[0].extent, (Extent{4096, 1024}));
  for (size_t at = 0; at + 8 <= plain.payload.size(); at += 8)
    EXPECT_EQ(batch.payload.find(plain.payload.substr(at, 8)), batch.payload.npos) << at;
  EXPECT_TRUE(CompressBatch(sealed, {PayloadEncoding::kZstd}).empty()) << "it has nothing to save";
  EXPECT_FALSE(ParseBatch(sealed, /*decode=*/true, &batch).ok());
}

TEST(EncryptedBatch, EveryByteThatIsChangedOnTheWayIsFound) {
  PayloadEncryptor encryptor(kBatchKey, NotRandom);
  const Marker marker{PointKind::kCrashConsistent, absl::FromUnixSeconds(1700000000), "p-1"};
  for (const std::string& sealed :
       {EncryptedSample(),
        std::string(SealMarker({BatchKind::kMarker, {1, 5}, 1}, marker, &encryptor).view()),
        std::string(SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 1}, {{1, 5}, true, {{7, 9}}},
                                   &encryptor)
                        .view()),
        std::string(BatchBuilder().Seal({BatchKind::kSyncEnd, {1, 9}, 1}, &encryptor).view())}) {
    ParsedBatch batch;
    ASSERT_TRUE(OpenBatch(sealed, kBatchKeys, &batch).ok());
    for (size_t i = 0; i < sealed.size(); ++i) {
      for (const int bit : {1, 0x80}) {
        std::string changed = sealed;
        changed[i] = static_cast<char>(changed[i] ^ bit);
        MakeChecksumRight(&changed);
        if (changed == sealed) continue;  // the checksum itself
        EXPECT_FALSE(OpenBatch(changed, kBatchKeys, &batch).ok()) << "byte " << i;
      }
    }
  }
}

TEST(EncryptedBatch, ItsEpochBeginAndMarkerCanBeReadOnTheWay) {
  PayloadEncryptor encryptor(kBatchKey);
  const SealedBatch begin =
      SealEpochBegin({BatchKind::kEpochBegin, {2, 0}, 1}, {{1, 5}, true, {{7, 9}}}, &encryptor);
  ParsedBatch batch;
  ASSERT_TRUE(ParseBatch(begin.view(), /*decode=*/false, &batch).ok());
  EXPECT_EQ(ParseEpochBegin(batch)->continues_from, (StreamPosition{1, 5}));
  const SealedBatch marker =
      SealMarker({BatchKind::kMarker, {1, 5}, 1},
                 {PointKind::kCrashConsistent, absl::FromUnixSeconds(1), "p-1"}, &encryptor);
  ASSERT_TRUE(ParseBatch(marker.view(), /*decode=*/false, &batch).ok());
  EXPECT_EQ(ParseMarker(batch)->id, "p-1");
  ASSERT_TRUE(OpenBatch(marker.view(), kBatchKeys, &batch).ok());
  EXPECT_EQ(ParseMarker(batch)->id, "p-1");
}

TEST(EncryptedBatch, AKeyThatIsNotThereIsNamed) {
  const std::string sealed = EncryptedSample();
  ParsedBatch batch;
  const absl::Status missing = OpenBatch(sealed, DataKeys(), &batch);
  EXPECT_TRUE(absl::IsDataLoss(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("1122334455667788"));
  EXPECT_TRUE(OpenBatch(sealed, kBatchKeys, &batch).ok());
  // One that only has its id.
  const DataKeys other{{{kBatchKey.id, std::string(kDataKeyBytes, 'o')}}, false};
  EXPECT_TRUE(absl::IsDataLoss(OpenBatch(sealed, other, &batch)));
}

TEST(EncryptedBatch, OneOfAGenerationThatTheEndWasNotToldOfYetIsNotLost) {
  const DataKey of_before{kBatchKey.id + 1, std::string(kDataKeyBytes, 'b')};
  DataKeys keys{{of_before}, /*takes_plain=*/false, /*generation=*/1};
  const std::string encrypted = EncryptedSample();
  const std::string plain = SampleUnder(nullptr);
  ParsedBatch batch;
  const absl::Status early = OpenBatch(encrypted, keys, &batch);
  ASSERT_GT(batch.header.generation, keys.generation);
  EXPECT_TRUE(absl::IsFailedPrecondition(early)) << early;
  EXPECT_THAT(std::string(early.message()),
              HasSubstr(absl::StrCat("generation ", batch.header.generation)));
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenBatch(plain, keys, &batch)));
  // What it does not know once it was told is lost.
  keys.generation = batch.header.generation;
  EXPECT_TRUE(absl::IsDataLoss(OpenBatch(encrypted, keys, &batch)));
  EXPECT_TRUE(absl::IsDataLoss(OpenBatch(plain, keys, &batch)));
}

TEST(EncryptedBatch, NobodyCanSendInTheClearForAMachineThatEncrypts) {
  const std::string sealed = SampleUnder(nullptr);
  ParsedBatch batch;
  EXPECT_TRUE(absl::IsDataLoss(OpenBatch(sealed, kBatchKeys, &batch)));
  DataKeys both = kBatchKeys;
  both.takes_plain = true;
  EXPECT_TRUE(OpenBatch(sealed, both, &batch).ok());
  EXPECT_TRUE(OpenBatch(EncryptedSample(), both, &batch).ok());
}

}  // namespace
}  // namespace homeward
