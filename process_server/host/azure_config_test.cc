#include "process_server/host/azure_config.h"

#include "common/config/config.h"
#include "common/tls/identity.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kKey[] =
    "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQ=";
constexpr char kSignature[] = "?sv=2021-12-02&sr=c&sig=hidden%3D";
constexpr char kUrl[] = "https://acct.blob.core.windows.net/replicas";

class AzureConfigTest : public ::testing::Test {
 protected:
  AzureConfigTest() {
    EXPECT_TRUE(files_.MakeDirectories("/etc/homeward").ok());
    Put("key", absl::StrCat(kKey, "\n"));
    Put("sas", kSignature);
    Put("secret", "s3cr3t\n");
    Put("empty", "\n");
    Put("ca.pem", CertificateAuthority::Create(absl::UnixEpoch())->certificate());
  }
  void Put(const std::string& name, const std::string& content) {
    EXPECT_TRUE(WriteFileAtomically(files_, JoinPath("/etc/homeward", name), content).ok());
  }
  // What is said of a configuration that has this under azure.
  std::string Check(const std::string& azure) {
    config_.Clear();
    return std::string(
        ParseConfig(
            "ps.conf", absl::StrCat("azure {\n", azure, "\n}\n"),
            [this](const google::protobuf::Message& message, ConfigProblems* problems) {
              CheckAzureConfig(files_,
                               static_cast<const config::v1::ProcessServerConfig&>(message).azure(),
                               problems);
            },
            &config_)
            .message());
  }
  // With a container, and this for it.
  std::string CheckStorage(const std::string& rest) {
    return Check(absl::StrCat("storage {\ncontainer_url: \"", kUrl, "\"\n", rest, "\n}"));
  }

  MemoryDisk files_{1};
  config::v1::ProcessServerConfig config_;
};

TEST_F(AzureConfigTest, EachWayToLogInIsReadFromItsFile) {
  EXPECT_THAT(CheckStorage("key_file: \"/etc/homeward/key\"\n"
                           "trusted_certificates_file: \"/etc/homeward/ca.pem\""),
              IsEmpty());
  auto access = ReadStorageAccess(files_, config_.azure().storage(0), {"proxy:3128", {}});
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(access->options.url, kUrl);
  EXPECT_THAT(std::get<azure::AccountKey>(access->options.credential).base64, HasSubstr(kKey));
  EXPECT_THAT(access->options.trusted, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_EQ(access->options.proxy.address, "proxy:3128");

  EXPECT_THAT(CheckStorage("sas_file: \"/etc/homeward/sas\""), IsEmpty());
  access = ReadStorageAccess(files_, config_.azure().storage(0), {});
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(std::get<azure::SharedAccessSignature>(access->options.credential).token, kSignature);

  EXPECT_THAT(CheckStorage("credential { tenant_id: \"t\" client_id: \"c\" "
                           "client_secret_file: \"/etc/homeward/secret\" "
                           "authority_url: \"https://login.example.org\" }\n"
                           "trusted_certificates_file: \"/etc/homeward/ca.pem\""),
              IsEmpty());
  access = ReadStorageAccess(files_, config_.azure().storage(0), {"proxy:3128", {}});
  ASSERT_TRUE(access.ok()) << access.status();
  ASSERT_TRUE(access->tokens.has_value());
  EXPECT_EQ(access->tokens->client_secret, "s3cr3t");
  EXPECT_EQ(access->tokens->authority, "https://login.example.org");
  EXPECT_EQ(access->tokens->trusted, access->options.trusted);
  EXPECT_EQ(access->tokens->proxy.address, "proxy:3128");
}

TEST_F(AzureConfigTest, SaysOfEachFieldWhatIsWrongAndWhatToDo) {
  const struct {
    const char* what;
    std::string rest;
    const char* said;
  } cases[] = {
      {"nothing to log in with", "", "azure.storage[0]: has nothing to log in with; give key_file"},
      {"two ways", "key_file: \"/etc/homeward/key\"\nsas_file: \"/etc/homeward/sas\"",
       "another member of oneof \"access\""},
      {"no such key file", "key_file: \"/etc/homeward/none\"",
       "ps.conf:4: azure.storage[0].key_file: cannot read /etc/homeward/none"},
      {"a path that is none", "key_file: \"key\"", "azure.storage[0].key_file: \"key\""},
      {"a key that is none", "key_file: \"/etc/homeward/secret\"",
       "azure.storage[0].key_file: /etc/homeward/secret: the key of the storage account is not "
       "one"},
      {"a signature that is none", "sas_file: \"/etc/homeward/key\"",
       "azure.storage[0].sas_file: /etc/homeward/key: the shared access signature is not one"},
      {"no application", "credential { client_secret_file: \"/etc/homeward/secret\" }",
       "azure.storage[0].credential.client_id: is missing"},
      {"an empty secret",
       "credential { tenant_id: \"t\" client_id: \"c\" client_secret_file: \"/etc/homeward/empty\" "
       "}",
       "azure.storage[0].credential.client_secret_file: /etc/homeward/empty is empty"},
      {"an authority without TLS",
       "credential { tenant_id: \"t\" client_id: \"c\" client_secret_file: "
       "\"/etc/homeward/secret\" "
       "authority_url: \"http://login.example.org\" }",
       "azure.storage[0].credential.authority_url: must begin with https://"},
      {"certificates that are none",
       "key_file: \"/etc/homeward/key\"\ntrusted_certificates_file: \"/etc/homeward/key\"",
       "azure.storage[0].trusted_certificates_file: /etc/homeward/key has no certificate"},
  };
  for (const auto& one : cases) {
    const std::string said = CheckStorage(one.rest);
    EXPECT_THAT(said, HasSubstr(one.said)) << one.what;
    for (const char* const secret : {kKey, "hidden", "s3cr3t"})
      EXPECT_THAT(said, Not(HasSubstr(secret))) << one.what;
  }
}

TEST_F(AzureConfigTest, NamesEachContainerOnceAndByItsAddress) {
  const std::string key = "key_file: \"/etc/homeward/key\"";
  const auto entry = [&](const std::string& url) {
    return absl::StrCat("storage { container_url: \"", url, "\" ", key, " }\n");
  };
  EXPECT_THAT(Check(""), HasSubstr("azure: names no container"));
  EXPECT_THAT(Check(entry("http://acct.blob.core.windows.net/replicas")),
              HasSubstr("azure.storage[0].container_url: \"http://"));
  EXPECT_THAT(Check(absl::StrCat("storage { ", key, " }")),
              HasSubstr("azure.storage[0].container_url"));
  EXPECT_THAT(Check(entry(absl::StrCat(kUrl, "?sv=1&sig=hidden"))), Not(HasSubstr("hidden")));
  EXPECT_THAT(Check(entry(kUrl) + entry("https://other.blob.core.windows.net/replicas")),
              IsEmpty());
  EXPECT_THAT(
      Check(entry(kUrl) + entry("https://ACCT.blob.core.windows.net/replicas/")),
      HasSubstr("ps.conf:3: azure.storage[1].container_url: is the container of an earlier"));
  EXPECT_THAT(Check(entry(kUrl) + "proxy { address: \"proxy\" }"),
              HasSubstr("azure.proxy.address: \"proxy\" is not host:port"));
}

}  // namespace
}  // namespace homeward
