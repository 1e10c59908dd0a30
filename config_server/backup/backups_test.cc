#include "config_server/backup/backups.h"

#include <filesystem>
#include <memory>
#include <string>

#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"
#include "config_server/backup/restore.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;

constexpr char kAddress[] = "10.0.0.1:7443";

class BackupsTest : public ::testing::Test {
 protected:
  BackupsTest() {
    char pattern[] = "/tmp/homeward-backups-XXXXXX";
    root_ = ::mkdtemp(pattern);
    for (const char* const name : {"backups", "state", "elsewhere"})
      std::filesystem::create_directory(Path(name));
    Put("passphrase", "a passphrase of backups\n");
    store_ = *Store::Open(Path("state/store"));
    storage::v1::Authority authority;
    authority.set_certificate("the CA");
    storage::v1::Machine machine;
    machine.set_machine_id("web");
    Store::Transaction transaction;
    transaction.Put(Store::kOnly, authority);
    transaction.Put("web", machine);
    EXPECT_TRUE(store_->Commit(transaction).ok());
  }
  ~BackupsTest() override {
    store_.reset();
    std::filesystem::remove_all(root_);
  }
  std::string Path(const std::string& name) const { return root_ + "/" + name; }
  void Put(const std::string& name, const std::string& content) {
    ASSERT_TRUE(WriteFileAtomically(RealFileSystem(), Path(name), content).ok());
  }
  std::unique_ptr<Backups> Start(size_t kept = 48) {
    return std::make_unique<Backups>(RealFileSystem(), clock_, store_.get(),
                                     Backups::Options{.directory = Path("backups"),
                                                      .passphrase_file = Path("passphrase"),
                                                      .scratch = Path("state/backup"),
                                                      .listen_address = kAddress,
                                                      .interval = absl::Hours(1),
                                                      .kept = kept});
  }
  RestoreOrder Order(const std::string& backup) const {
    return {.backup = backup,
            .passphrase_file = Path("passphrase"),
            .state_directory = Path("elsewhere"),
            .listen_address = kAddress};
  }
  static std::string IdOf(const absl::Status& status) {
    const auto problem = ProblemOf(status);
    return problem.has_value() ? problem->id() : status.ToString();
  }
  bool IsThere(const std::string& name) const { return std::filesystem::exists(Path(name)); }

  std::string root_;
  ManualClock clock_;
  std::unique_ptr<Store> store_;
};

TEST_F(BackupsTest, ARestoredStoreIsTheOneThatWas) {
  const auto made = Start()->Make();
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_FALSE(IsThere("state/backup")) << "what is in the clear was left behind";
  const std::string id = store_->Get<storage::v1::Meta>(Store::kOnly)->config_server_id();
  const auto told = Restore(RealFileSystem(), Order(made->path));
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_THAT(*told, HasSubstr(id));
  EXPECT_THAT(*told, HasSubstr("1 machines"));
  EXPECT_FALSE(IsThere("elsewhere/restore"));
  const auto restored = Store::Open(Path("elsewhere/store"));
  ASSERT_TRUE(restored.ok()) << restored.status();
  const auto meta = (*restored)->Get<storage::v1::Meta>(Store::kOnly);
  EXPECT_EQ(meta->config_server_id(), id);
  EXPECT_EQ(FromProto(meta->restored_backup_time()), made->time);
  EXPECT_TRUE((*restored)->Get<storage::v1::Machine>("web").has_value());
  EXPECT_EQ((*restored)->Get<storage::v1::Authority>(Store::kOnly)->certificate(), "the CA");
}

TEST_F(BackupsTest, WhatIsCommittedWhileItIsMadeIsThereOrNot) {
  const std::unique_ptr<Backups> backups = Start();
  std::string last;
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 200; ++j) {
      storage::v1::Machine machine;
      machine.set_machine_id(absl::StrCat("m", i * 200 + j));
      Store::Transaction transaction;
      transaction.Put(machine.machine_id(), machine);
      ASSERT_TRUE(store_->Commit(transaction).ok());
    }
    clock_.now += absl::Seconds(1);
    const auto made = backups->Make();
    ASSERT_TRUE(made.ok()) << made.status();
    last = made->path;
  }
  ASSERT_TRUE(Restore(RealFileSystem(), Order(last)).ok());
  EXPECT_EQ((*Store::Open(Path("elsewhere/store")))->All<storage::v1::Machine>().size(), 1001u);
}

TEST_F(BackupsTest, TheNewestStayAndWhatIsNotItsOwn) {
  Put("backups/notes", "mine");
  const std::unique_ptr<Backups> backups = Start(/*kept=*/2);
  for (int i = 0; i < 4; ++i) {
    clock_.now += absl::Hours(1);
    ASSERT_TRUE(backups->Make().ok());
  }
  const auto kept = backups->List();
  ASSERT_TRUE(kept.ok());
  ASSERT_EQ(kept->size(), 2u);
  EXPECT_EQ(kept->back().time, clock_.Now());
  EXPECT_EQ(kept->front().time, clock_.Now() - absl::Hours(1));
  EXPECT_TRUE(IsThere("backups/notes"));
}

TEST_F(BackupsTest, OneIsMadeByItselfWhereTheLastIsOld) {
  const auto after = [&](absl::Duration time) {
    clock_.now += time;
    const std::unique_ptr<Backups> backups = Start();
    backups->Settle();
    return backups->List()->size();
  };
  EXPECT_EQ(after(absl::ZeroDuration()), 1u);
  EXPECT_EQ(after(absl::Minutes(59)), 1u);
  EXPECT_EQ(after(absl::Minutes(1)), 2u);
  EXPECT_EQ(after(-absl::Minutes(90)), 3u) << "both are of when the clock was ahead";
}

TEST_F(BackupsTest, AFailureIsSaidUntilOneSucceeds) {
  std::filesystem::remove(Path("backups"));
  const std::unique_ptr<Backups> backups = Start();
  EXPECT_FALSE(backups->Make().ok());
  EXPECT_FALSE(backups->last().ok());
  EXPECT_FALSE(IsThere("backups")) << "a mount that is missing must not be filled up";
  std::filesystem::create_directory(Path("backups"));
  EXPECT_TRUE(backups->Make().ok());
  EXPECT_TRUE(backups->last().ok());
}

TEST_F(BackupsTest, ItIsNotRestoredWhereItWouldNotBeTheSame) {
  const auto made = Start()->Make();
  ASSERT_TRUE(made.ok()) << made.status();
  RestoreOrder other_port = Order(made->path);
  other_port.listen_address = "10.0.0.1:7444";
  EXPECT_EQ(IdOf(Restore(RealFileSystem(), other_port).status()), "CONFIG_SERVER_IDENTITY");
  RestoreOrder other_host = Order(made->path);
  other_host.listen_address = "10.0.0.2:7443";
  EXPECT_EQ(IdOf(Restore(RealFileSystem(), other_host).status()), "CONFIG_SERVER_IDENTITY");
  std::filesystem::create_directory(Path("elsewhere/identity"));
  Put("elsewhere/identity/ca.pem", "another CA");
  EXPECT_EQ(IdOf(Restore(RealFileSystem(), Order(made->path)).status()), "CONFIG_SERVER_IDENTITY");
  EXPECT_FALSE(IsThere("elsewhere/store"));
  Put("elsewhere/identity/ca.pem", "the CA");
  RestoreOrder any_host = Order(made->path);
  any_host.listen_address = "0.0.0.0:7443";
  EXPECT_TRUE(Restore(RealFileSystem(), any_host).ok());
  const absl::Status again = Restore(RealFileSystem(), any_host).status();
  EXPECT_THAT(std::string(again.message()), HasSubstr("is there already"));
}

TEST_F(BackupsTest, ADamagedOneLeavesNoStoreAndAGoodOneGoesOver) {
  const auto made = Start()->Make();
  ASSERT_TRUE(made.ok()) << made.status();
  std::string bytes = *ReadWholeFile(RealFileSystem(), made->path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  Put("damaged", bytes);
  EXPECT_TRUE(absl::IsDataLoss(Restore(RealFileSystem(), Order(Path("damaged"))).status()));
  EXPECT_FALSE(IsThere("elsewhere/store"));
  // As one that was killed left it: half of it is there.
  EXPECT_TRUE(IsThere("elsewhere/restore"));
  EXPECT_TRUE(Restore(RealFileSystem(), Order(made->path)).ok());
}

}  // namespace
}  // namespace homeward
