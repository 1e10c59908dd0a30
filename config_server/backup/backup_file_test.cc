#include "config_server/backup/backup_file.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"
#include "tests/golden/golden.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;

constexpr char kPath[] = "/backups/one";
constexpr char kPassphrase[] = "sixteen letters!";
using Content = std::vector<std::pair<std::string, std::string>>;

class BackupFileTest : public ::testing::Test {
 protected:
  BackupFileTest() { EXPECT_TRUE(files_.MakeDirectories("/backups").ok()); }

  void Write(const Content& content) {
    storage::v1::BackupHeader header;
    header.set_config_server_id("0123456789abcdef");
    header.set_listen_address("10.0.0.1:7443");
    auto writer = BackupWriter::Create(files_, kPath, kPassphrase, header);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const auto& [path, bytes] : content)
      ASSERT_TRUE((*writer)->Add(path, AsBytes(bytes)).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  absl::StatusOr<Content> Read(const std::string& passphrase = kPassphrase) {
    auto reader = BackupReader::Open(files_, kPath, passphrase);
    if (!reader.ok()) return reader.status();
    Content content;
    while (true) {
      storage::v1::BackupPiece piece;
      const absl::StatusOr<bool> more = (*reader)->Next(&piece);
      if (!more.ok()) return more.status();
      if (!*more) return content;
      if (content.empty() || content.back().first != piece.path())
        content.emplace_back(piece.path(), "");
      content.back().second += piece.content();
    }
  }
  std::string Bytes() { return *ReadWholeFile(files_, kPath); }
  void Replace(const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomically(files_, kPath, bytes).ok());
  }

  MemoryDisk files_{1};
};

TEST_F(BackupFileTest, GivesBackWhatItWasGiven) {
  const Content content = {{"meta/1", "a list"},
                           {"private/1/empty", ""},
                           {"private/1/large", std::string(2 * kMiB + 17, 'x')}};
  Write(content);
  const auto read = Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, content);
  EXPECT_THAT(Bytes(), Not(HasSubstr("a list"))) << "it is in the clear";
  const auto header = ReadBackupHeader(files_, kPath);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->listen_address(), "10.0.0.1:7443");
}

TEST_F(BackupFileTest, AnotherPassphraseOpensNothing) {
  Write({{"meta/1", "a list"}});
  const auto read = Read("seventeen letters");
  EXPECT_TRUE(absl::IsDataLoss(read.status()));
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("passphrase"));
}

TEST_F(BackupFileTest, WhatWasChangedAnywhereIsNoticed) {
  Write({{"meta/1", "a list"}, {"private/1/a", std::string(100, 'a')}});
  const std::string good = Bytes();
  for (size_t at = 0; at < good.size(); at += 19) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    Replace(bad);
    EXPECT_FALSE(Read().ok()) << "byte " << at;
  }
}

TEST_F(BackupFileTest, WhatIsMissingOrTooMuchIsNoticed) {
  Write({{"meta/1", "a list"}, {"private/1/a", "aaaa"}, {"private/1/b", "bbbb"}});
  const std::string good = Bytes();
  // The last frame holds nothing: its length, a nonce of 24 bytes and a tag of 16.
  const size_t last = 4 + 24 + 16;
  for (const size_t length : {good.size() - 1, good.size() - last, good.size() - last - 5,
                              size_t{20}, size_t{3}, size_t{0}}) {
    Replace(good.substr(0, length));
    EXPECT_TRUE(absl::IsDataLoss(Read().status())) << length << " bytes";
  }
  Replace(good + good.substr(good.size() - last));
  EXPECT_TRUE(absl::IsDataLoss(Read().status()));
}

TEST_F(BackupFileTest, ANewerVersionIsNamed) {
  Write({});
  std::string bytes = Bytes();
  bytes[8] = 2;
  Replace(bytes);
  const absl::Status refused = Read().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("version 2"));
}

TEST_F(BackupFileTest, OneOfAnEarlierProgramIsRead) {
  const std::string name = "config_backup_v1.bin";
  Replace(testing::ReadGolden(name));
  const auto read = Read();
  if (!read.ok()) {
    // Random: it is not what is written that is compared, but whether it can be read.
    Write({{"meta/1", "a list"}, {"private/1/a", "content"}});
    testing::ExpectGolden(name, Bytes());
  }
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, (Content{{"meta/1", "a list"}, {"private/1/a", "content"}}));
}

TEST_F(BackupFileTest, APassphraseIsALineOfSixteenCharacters) {
  Replace("sixteen letters!\nand more\n");
  EXPECT_EQ(*ReadBackupPassphrase(files_, kPath), kPassphrase);
  Replace("short\n");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadBackupPassphrase(files_, kPath).status()));
}

}  // namespace
}  // namespace homeward
