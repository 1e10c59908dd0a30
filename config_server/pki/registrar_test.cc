#include "config_server/pki/registrar.h"

#include "common/rpc/problem_status.h"
#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

class Enrolment : public ::testing::Test {
 protected:
  Enrolment() : store_(*Store::Open("")), registrar_(Open()) {}
  std::unique_ptr<Registrar> Open() {
    return *Registrar::Open(store_.get(), clock_, absl::Hours(24));
  }
  control::v1::EnrolRequest Request(const std::string& passphrase, types::v1::ServerRole role) {
    control::v1::EnrolRequest request;
    request.set_role(role);
    request.set_host_id("0123456789abcdef0123456789abcdef");
    request.set_signing_request(*MakeSigningRequest(*MakePrivateKey()));
    request.set_proof(
        EnrolmentProof(passphrase, role, request.host_id(), request.signing_request()));
    return request;
  }
  RealClock clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Registrar> registrar_;
};

TEST_F(Enrolment, NeedsThePassphraseOfToday) {
  const std::string passphrase = registrar_->enrolment().passphrase;
  EXPECT_TRUE(registrar_->Enrol(Request(passphrase, types::v1::AGENT)).ok());
  const absl::Status wrong = registrar_->Enrol(Request("guess", types::v1::AGENT)).status();
  EXPECT_EQ(wrong.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ProblemOf(wrong)->id(), "ENROLMENT_REFUSED");
  ASSERT_TRUE(registrar_->RotatePassphrase().ok());
  EXPECT_FALSE(registrar_->Enrol(Request(passphrase, types::v1::AGENT)).ok());
  EXPECT_TRUE(
      registrar_->Enrol(Request(registrar_->enrolment().passphrase, types::v1::AGENT)).ok());
}

TEST_F(Enrolment, AProofIsGoodForItsRoleAndRequestOnly) {
  const std::string passphrase = registrar_->enrolment().passphrase;
  control::v1::EnrolRequest request = Request(passphrase, types::v1::AGENT);
  request.set_role(types::v1::MASTER_TARGET);
  EXPECT_EQ(registrar_->Enrol(request).status().code(), absl::StatusCode::kPermissionDenied);
  request = Request(passphrase, types::v1::AGENT);
  request.set_signing_request(*MakeSigningRequest(*MakePrivateKey()));
  EXPECT_EQ(registrar_->Enrol(request).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(Enrolment, GuessingIsSlow) {
  for (size_t i = 0; i < Registrar::kFailuresMax; ++i)
    EXPECT_FALSE(registrar_->Enrol(Request("guess", types::v1::AGENT)).ok());
  EXPECT_EQ(registrar_->Enrol(Request(registrar_->enrolment().passphrase, types::v1::AGENT))
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
}

// Each file of an identity, changed in the middle: found by name, and whoever has the CA makes a
// new one.
TEST_F(Enrolment, AnIdentityThatChangedByItselfIsFoundAndMadeAnew) {
  const std::string id = "0123456789abcdef0123456789abcdef";
  MemoryDisk disk(1);
  for (const IdentityPart part :
       {IdentityPart::kCa, IdentityPart::kCertificate, IdentityPart::kKey}) {
    const auto paths = registrar_->KeepIdentity(disk, "/identity", Role::kConfigServer, id);
    ASSERT_TRUE(paths.ok()) << paths.status();
    ASSERT_FALSE(FindFault(*ReadIdentity(disk, *paths), id).has_value());
    const std::string& path = part == IdentityPart::kCa            ? paths->ca
                              : part == IdentityPart::kCertificate ? paths->certificate
                                                                   : paths->key;
    disk.FlipByte(path, disk.Content(path).size() / 2);
    const auto fault = FindFault(*ReadIdentity(disk, *paths), id);
    ASSERT_TRUE(fault.has_value()) << path;
    EXPECT_EQ(fault->part, part) << fault->why;
  }
  const auto paths = registrar_->KeepIdentity(disk, "/identity", Role::kConfigServer, id);
  ASSERT_TRUE(paths.ok()) << paths.status();
  EXPECT_FALSE(FindFault(*ReadIdentity(disk, *paths), id).has_value());
  EXPECT_EQ(FindFault(*ReadIdentity(disk, *paths), "another")->part, IdentityPart::kHostId);

  const std::string key = disk.Content(paths->key);
  disk.FailReads(1);
  EXPECT_FALSE(registrar_->KeepIdentity(disk, "/identity", Role::kConfigServer, id).ok());
  EXPECT_EQ(disk.Content(paths->key), key) << "one that could not be read is not made anew";
}

// What is shown is in a file that servers read again every five seconds.
TEST_F(Enrolment, WhatAServerShowsOutlivesTheLongestHandshake) {
  constexpr absl::Duration kReadAgain = absl::Seconds(5);
  for (const absl::Duration valid : {kValidityMin, absl::Minutes(30), absl::Hours(24 * 30)}) {
    ManualClock clock;
    const auto registrar = *Registrar::Open(store_.get(), clock, valid);
    MemoryDisk disk(1);
    for (int look = 0; look < 200; ++look) {
      const auto paths = registrar->KeepIdentity(disk, "/identity", Role::kProcessServer, "host-1");
      ASSERT_TRUE(paths.ok()) << paths.status();
      const absl::Duration again = RenewalInterval(disk, clock, *paths);
      const absl::Time end = CertificateValidity(disk.Content(paths->certificate))->end;
      ASSERT_GE(end - (clock.Now() + again + kReadAgain), absl::Seconds(kHandshakeSecondsMax))
          << "look " << look << " of a validity of " << valid;
      clock.now += again;
    }
  }
}

TEST_F(Enrolment, AHostIdOfAnotherRoleIsRefused) {
  storage::v1::Server server;
  server.set_host_id("0123456789abcdef0123456789abcdef");
  server.set_role(types::v1::PROCESS_SERVER);
  Store::Transaction transaction;
  transaction.Put(server.host_id(), server);
  ASSERT_TRUE(store_->Commit(transaction).ok());
  const std::string passphrase = registrar_->enrolment().passphrase;
  EXPECT_FALSE(registrar_->Enrol(Request(passphrase, types::v1::MASTER_TARGET)).ok());
  EXPECT_TRUE(registrar_->Enrol(Request(passphrase, types::v1::PROCESS_SERVER)).ok());
}

TEST_F(Enrolment, TheAuthorityIsTheSameAfterARestart) {
  const EnrolmentFile before = registrar_->enrolment();
  registrar_ = Open();
  EXPECT_EQ(registrar_->enrolment().ca, before.ca);
  EXPECT_EQ(registrar_->enrolment().passphrase, before.passphrase);
  const auto parsed = ParseEnrolmentFile(FormatEnrolmentFile(before));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->ca, before.ca);
  EXPECT_EQ(parsed->passphrase, before.passphrase);
  EXPECT_FALSE(ParseEnrolmentFile("nonsense").ok());
}

}  // namespace
}  // namespace homeward
