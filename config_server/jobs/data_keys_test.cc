// When a machine's stream gets a data key, who is told it, and when it ends.
#include "config_server/model/data_keys.h"
#include "absl/algorithm/container.h"
#include "tests/fakes/brain_fixture.h"

namespace homeward {
namespace {

class DataKeysTest : public BrainFixture {
 protected:
  void Protect(absl::optional<bool> encrypts) {
    settings_.encrypt_streams = encrypts;
    StartBrain();
    Obey();
    Obey();
    Run("protect");
  }
  control::v1::Protection Protection() { return desired_[kMachine].agent().protection(); }
  control::v1::Replica Replica() { return desired_[kTarget].master_target().replicas(0); }
  bool HealthSays(types::v1::Severity severity, const std::string& id) {
    return absl::c_any_of(JudgeMachine(brain_->MakeView(), Machine()), [&](const auto& issue) {
      return issue.severity() == severity && issue.problem().id() == id;
    });
  }
  // As another version.
  void Restart(const std::string& host, bool knows_encryption) {
    if (knows_encryption) {
      older_.erase(host);
    } else {
      older_.insert(host);
    }
    brain_->fleet().Disconnect(host, sessions_[host]);
    sessions_.erase(host);
    Obey();
    Obey();
  }
};

TEST_F(DataKeysTest, EachGenerationHasAKeyThatItsEndsAloneAreTold) {
  Protect(/*encrypts=*/true);
  ASSERT_EQ(Replica().data_keys_size(), 1);
  EXPECT_TRUE(Replica().refuses_plain()) << "nothing was ever sent in the clear";
  EXPECT_EQ(Replica().data_keys(0).secret().size(), 32u);
  EXPECT_EQ(Protection().data_key().secret(), Replica().data_keys(0).secret());
  const std::string secret = Protection().data_key().secret();
  EXPECT_EQ(desired_[kServer].SerializeAsString().find(secret), std::string::npos)
      << "the process server passes it on and cannot read it";
  agent_runs_ = false;
  Run("failback", "latest");
  EXPECT_FALSE(Machine().assignment().data_keys(0).secret() == secret) << "a new generation";
}

TEST_F(DataKeysTest, WithoutBeingWantedThereIsNone) {
  Protect(/*encrypts=*/false);
  EXPECT_FALSE(Protection().has_data_key());
  EXPECT_EQ(Replica().data_keys_size(), 0);
  EXPECT_FALSE(Replica().refuses_plain());
}

TEST_F(DataKeysTest, WhereNothingIsSaidAStreamThatIsPassedOnIsEncrypted) {
  Protect(absl::nullopt);
  EXPECT_TRUE(Protection().has_data_key());
  EXPECT_TRUE(Replica().refuses_plain());
  storage::v1::Machine direct = Machine();
  direct.mutable_assignment()->mutable_placement()->clear_process_server_id();
  BeginGeneration(brain_->MakeView(), &direct);
  EXPECT_TRUE(direct.assignment().data_keys().empty()) << "nobody is between its two ends";
  direct.set_encrypts_stream(true);
  BeginGeneration(brain_->MakeView(), &direct);
  EXPECT_EQ(direct.assignment().data_keys_size(), 1);
}

TEST_F(DataKeysTest, WhereNothingIsSaidNobodyIsToldWhoCannot) {
  older_ = {kTarget};
  Protect(absl::nullopt);
  EXPECT_FALSE(Protection().has_data_key());
  EXPECT_FALSE(HealthSays(types::v1::WARNING, "STREAM_CANNOT_BE_ENCRYPTED"));
  EXPECT_FALSE(HealthSays(types::v1::WARNING, "STREAM_NOT_ENCRYPTED"));
}

TEST_F(DataKeysTest, WhereNothingIsSaidEncryptionCostsNoOlderAgentItsCompression) {
  compress_in_the_clear_ = {kMachine};
  Protect(absl::nullopt);
  EXPECT_FALSE(Protection().has_data_key());
  storage::v1::Machine asked_for = Machine();
  asked_for.set_encrypts_stream(true);
  BeginGeneration(brain_->MakeView(), &asked_for);
  EXPECT_EQ(asked_for.assignment().data_keys_size(), 1) << "unless somebody says so";
}

TEST_F(DataKeysTest, WhereNothingIsSaidEncryptionCostsNoOlderProcessServerItsCompression) {
  compress_in_the_clear_ = {kServer};
  Protect(absl::nullopt);
  EXPECT_FALSE(Protection().has_data_key());
}

TEST_F(DataKeysTest, OneThatBeginsLateTakesWhatWasSentInTheClearUntilItIsWritten) {
  Protect(/*encrypts=*/false);
  written_ = 9;
  const auto job = Start("rekey");
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 10; ++i) Obey();
  EXPECT_TRUE(Protection().has_data_key());
  EXPECT_FALSE(Replica().refuses_plain()) << "something may wait in a spool";
  EXPECT_EQ(brain_->FindJob(job->id())->state(), storage::v1::RUNNING);
  written_ = 10;
  EXPECT_EQ(Finish(job->id(), /*kill_one_in=*/3).state(), storage::v1::SUCCEEDED);
  Obey();
  EXPECT_TRUE(Replica().refuses_plain());
}

TEST_F(DataKeysTest, TheOldKeyIsKeptAsLongAsSomethingWaitsThatItEncrypted) {
  Protect(/*encrypts=*/true);
  const uint64_t first = Protection().data_key().id();
  data_key_from_ = 20;
  const auto job = Start("rekey");
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 10; ++i) Obey();
  const uint64_t second = Protection().data_key().id();
  EXPECT_NE(second, first);
  ASSERT_EQ(Replica().data_keys_size(), 2);
  EXPECT_EQ(Replica().data_keys(0).id(), first);
  written_ = 20;
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::SUCCEEDED);
  Obey();
  ASSERT_EQ(Replica().data_keys_size(), 1);
  EXPECT_EQ(Replica().data_keys(0).id(), second);
}

TEST_F(DataKeysTest, WhoCannotIsNamed) {
  older_ = {kTarget};
  Protect(/*encrypts=*/true);
  EXPECT_FALSE(Protection().has_data_key());
  const absl::Status refused = Start("rekey").status();
  EXPECT_EQ(IdOf(refused), "STREAM_CANNOT_BE_ENCRYPTED");
  EXPECT_NE(ProblemOf(refused)->message().find("MASTER_TARGET"), std::string::npos) << refused;
}

TEST_F(DataKeysTest, TheAgentGetsAKeyOnceTheEndOfTheStreamHasIt) {
  Protect(/*encrypts=*/true);
  const uint64_t first = Protection().data_key().id();
  takes_keys_ = false;
  const auto job = Start("rekey");
  ASSERT_TRUE(job.ok()) << job.status();
  for (int i = 0; i < 10; ++i) Obey();
  EXPECT_EQ(Replica().data_keys_size(), 2);
  EXPECT_EQ(Protection().data_key().id(), first);
  ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
  EXPECT_EQ(Finish(job->id()).state(), storage::v1::CANCELLED);
  Obey();
  EXPECT_EQ(Replica().data_keys_size(), 1) << "one that was never used is forgotten";
  takes_keys_ = true;
  Run("rekey");
  Obey();
  EXPECT_NE(Protection().data_key().id(), first);
  EXPECT_EQ(Replica().data_keys_size(), 1);
}

TEST_F(DataKeysTest, RekeysThatAreCancelledDoNotPileUpKeys) {
  Protect(/*encrypts=*/true);
  data_key_from_ = 20;
  for (int round = 0; round < 2 * kDataKeysMax; ++round) {
    const auto job = Start("rekey");
    ASSERT_TRUE(job.ok()) << job.status();
    for (int i = 0; i < 5; ++i) Obey();
    ASSERT_TRUE(brain_->CancelJob(job->id()).ok());
    EXPECT_EQ(Finish(job->id()).state(), storage::v1::CANCELLED);
  }
  EXPECT_EQ(Machine().assignment().data_keys_size(), kDataKeysMax);
  written_ = 20;
  Run("rekey");
  EXPECT_EQ(Machine().assignment().data_keys_size(), 1);
}

TEST_F(DataKeysTest, AProcessServerCannotHaveAStreamSentInTheClear) {
  Protect(/*encrypts=*/true);
  Restart(kServer, /*knows_encryption=*/false);
  EXPECT_TRUE(Protection().has_data_key());
  EXPECT_EQ(Protection().address(), "") << "it is given nothing";
  EXPECT_TRUE(Replica().refuses_plain()) << "and can invent nothing";
  EXPECT_TRUE(HealthSays(types::v1::CRITICAL, "STREAM_CANNOT_BE_ENCRYPTED"));
  Restart(kServer, /*knows_encryption=*/true);
  EXPECT_NE(Protection().address(), "");
  EXPECT_FALSE(HealthSays(types::v1::CRITICAL, "STREAM_CANNOT_BE_ENCRYPTED"));
}

TEST_F(DataKeysTest, AStreamIsNotGivenToAServerThatCannotPassItOn) {
  Protect(/*encrypts=*/true);
  older_ = {kOtherServer};
  servers_run_[kOtherServer] = true;
  Obey();
  const auto job = Start("switch-process-server");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(Finish(job->id()).problem().id(), "STREAM_CANNOT_BE_ENCRYPTED");
  EXPECT_EQ(Machine().assignment().placement().process_server_id(), kServer);
  EXPECT_NE(Protection().address(), "") << "it goes on where it was";
  Restart(kOtherServer, /*knows_encryption=*/true);
  Run("switch-process-server");
  EXPECT_EQ(Machine().assignment().placement().process_server_id(), kOtherServer);
}

TEST_F(DataKeysTest, HealthSaysThatWhatIsToBeEncryptedIsNot) {
  older_ = {kTarget};
  Protect(/*encrypts=*/true);
  EXPECT_TRUE(HealthSays(types::v1::WARNING, "STREAM_CANNOT_BE_ENCRYPTED"));
  Restart(kTarget, /*knows_encryption=*/true);
  EXPECT_TRUE(HealthSays(types::v1::WARNING, "STREAM_NOT_ENCRYPTED"));
  Run("rekey");
  EXPECT_FALSE(HealthSays(types::v1::WARNING, "STREAM_NOT_ENCRYPTED"));
}

TEST_F(DataKeysTest, AnEndThatIsSetBackToAnOlderVersionStopsNothing) {
  Protect(/*encrypts=*/true);
  for (const char* host : {kMachine, kTarget}) {
    SCOPED_TRACE(host);
    Restart(host, /*knows_encryption=*/false);
    EXPECT_FALSE(Protection().has_data_key());
    EXPECT_FALSE(Replica().refuses_plain());
    EXPECT_EQ(Replica().data_keys_size(), 1) << "what it encrypted may still be on its way";
    Restart(host, /*knows_encryption=*/true);
    EXPECT_TRUE(Protection().has_data_key());
    EXPECT_TRUE(Replica().refuses_plain());
  }
}

}  // namespace
}  // namespace homeward
