#include "common/azure/token.h"

#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/net/http_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_azure.h"

namespace homeward::azure {
namespace {

using ::testing::HasSubstr;

constexpr char kResource[] = "https://management.azure.com/";

// The identity service of a VM, which is asked without TLS.
class TokenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    HttpServer::Pages pages;
    pages["/metadata/identity/oauth2/token"] = [this] {
      const int number = ++asked_;
      HttpReply reply;
      reply.status = status_;
      reply.body = absl::StrCat(R"({"access_token": "token)", number,
                                R"(", "expires_in": "3600", "token_type": "Bearer")", extra_, "}");
      return reply;
    };
    auto server = HttpServer::Start("127.0.0.1:0", std::move(pages));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    Credential credential;
    credential.metadata = absl::StrCat("http://127.0.0.1:", server_->port());
    auto tokens = MakeTokens(credential, time_, time_);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    tokens_ = *std::move(tokens);
  }
  std::string Token() {
    const auto token = tokens_->Token(kResource);
    return token.ok() ? *token : token.status().ToString();
  }

  QuickTime time_;
  std::atomic<int> asked_{0};
  std::atomic<int> status_{200};
  std::string extra_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<Tokens> tokens_;
};

TEST_F(TokenTest, IsKeptUntilFiveMinutesBeforeItsEnd) {
  EXPECT_EQ(Token(), "token1");
  time_.Pass(absl::Minutes(54));
  EXPECT_EQ(Token(), "token1");
  time_.Pass(absl::Minutes(1) + absl::Seconds(1));
  EXPECT_EQ(Token(), "token2");
  EXPECT_EQ(Token(), "token2");
}

TEST_F(TokenTest, IsRenewedWhenItsGiverSays) {
  extra_ = R"(, "refresh_in": "600")";
  EXPECT_EQ(Token(), "token1");
  time_.Pass(absl::Minutes(9));
  EXPECT_EQ(Token(), "token1");
  time_.Pass(absl::Minutes(2));
  EXPECT_EQ(Token(), "token2");
}

TEST_F(TokenTest, EachResourceHasItsOwn) {
  EXPECT_EQ(Token(), "token1");
  EXPECT_EQ(*tokens_->Token("https://storage.azure.com/"), "token2");
  EXPECT_EQ(Token(), "token1");
}

TEST_F(TokenTest, OneIsFetchedForAllWhoWait) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 16; ++i) threads.emplace_back([&] { right += Token() == "token1" ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 16);
  EXPECT_EQ(asked_, 1);
}

TEST_F(TokenTest, PresentOneIsGivenWhileItsRenewalFails) {
  EXPECT_EQ(Token(), "token1");
  status_ = 500;
  time_.Pass(absl::Minutes(56));
  EXPECT_EQ(Token(), "token1");
  const int asked = asked_;
  EXPECT_EQ(Token(), "token1");
  EXPECT_EQ(asked_, asked);  // not at every call
  time_.Pass(absl::Minutes(5));
  EXPECT_THAT(Token(), HasSubstr("UNAVAILABLE"));
  status_ = 200;
  EXPECT_THAT(Token(), HasSubstr("token"));
}

TEST_F(TokenTest, OneThatWasNotTakenIsNotGivenAgain) {
  EXPECT_EQ(Token(), "token1");
  tokens_->Forget(kResource, "token0");
  EXPECT_EQ(Token(), "token1");
  tokens_->Forget(kResource, "token1");
  EXPECT_EQ(Token(), "token2");
}

TEST_F(TokenTest, RefusalIsNotTriedAgain) {
  status_ = 400;
  const absl::Status status = tokens_->Token(kResource).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_EQ(asked_, 1);
}

TEST(CredentialTest, HalfACredentialIsRefused) {
  QuickTime time;
  const auto refusal = [&](Credential credential) {
    return MakeTokens(std::move(credential), time, time).status();
  };
  Credential credential;
  credential.client_secret = "s";
  EXPECT_TRUE(absl::IsInvalidArgument(refusal(credential)));
  credential.tenant_id = credential.client_id = "x";
  EXPECT_TRUE(refusal(credential).ok());
  credential.authority = "http://login.example";
  EXPECT_TRUE(absl::IsInvalidArgument(refusal(credential)));
  credential.authority = "https://login.example/";
  EXPECT_TRUE(refusal(credential).ok());
  credential.certificate = "c";
  EXPECT_TRUE(absl::IsInvalidArgument(refusal(credential)));
  credential.client_secret = "";
  EXPECT_TRUE(absl::IsInvalidArgument(refusal(credential)));
}

}  // namespace
}  // namespace homeward::azure
