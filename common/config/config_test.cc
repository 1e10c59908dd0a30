#include "common/config/config.h"

#include "common/net/address.h"
#include "gtest/gtest.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {
namespace {

TEST(Config, SaysEverythingThatIsWrongWithItsLine) {
  config::v1::ProcessServerConfig config;
  const auto check = [](const google::protobuf::Message& message, ConfigProblems* problems) {
    const auto& read = static_cast<const config::v1::ProcessServerConfig&>(message);
    RequireAddress("listen_address", read.listen_address(), problems);
    RequireAddress("join.config_server", read.join().config_server(), problems);
    RequireAbsolutePath("state_directory", read.state_directory(), problems);
  };
  const absl::Status status = ParseConfig("ps.conf",
                                          "listen_adress: \"0.0.0.0:1\"\n"
                                          "join {\n"
                                          "  config_server: \"nowhere\"\n"
                                          "  colour: 3\n"
                                          "}\n"
                                          "state_directory: \"relative\"\n",
                                          check, &config);
  const std::string text(status.message());
  EXPECT_NE(text.find("ps.conf:1: "), std::string::npos) << text;
  EXPECT_NE(text.find("listen_adress"), std::string::npos) << text;
  EXPECT_NE(text.find("ps.conf:3: join.config_server: \"nowhere\" is not host:port"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("ps.conf:4: "), std::string::npos) << text;
  EXPECT_NE(text.find("ps.conf:6: state_directory: \"relative\" is not an absolute path"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("listen_address: is missing"), std::string::npos) << text;
}

TEST(Config, AFormerNameOfAKeyIsStillRead) {
  config::v1::MasterTargetConfig config;
  const std::string former = "\nbulk_lane_address: \"0.0.0.0:9444\"\n";
  ASSERT_TRUE(ParseConfig("mt.conf", former, nullptr, &config).ok());
  EXPECT_EQ(config.data_channel_address(), "0.0.0.0:9444");
  EXPECT_TRUE(config.bulk_lane_address().empty());
  const std::string now = "data_channel_address: \"none\"";
  config.Clear();
  ASSERT_TRUE(ParseConfig("mt.conf", now, nullptr, &config).ok());
  EXPECT_EQ(config.data_channel_address(), "none");
  config.Clear();
  EXPECT_EQ(ParseConfig("mt.conf", now + former, nullptr, &config).message(),
            "mt.conf:2: bulk_lane_address: is the former name of data_channel_address, which is "
            "given too; remove one of them");
  config.Clear();
  const auto check = [](const google::protobuf::Message& message, ConfigProblems* problems) {
    const auto& read = static_cast<const config::v1::MasterTargetConfig&>(message);
    RequireAddress("data_channel_address", read.data_channel_address(), problems);
  };
  EXPECT_EQ(ParseConfig("mt.conf", "\nbulk_lane_address: \"nowhere\"", check, &config).message(),
            "mt.conf:2: bulk_lane_address: \"nowhere\" is not host:port");
}

TEST(Config, ASyntaxErrorIsReportedAlone) {
  config::v1::ProcessServerConfig config;
  bool checked = false;
  const absl::Status status = ParseConfig(
      "ps.conf", "listen_address: \"0.0.0.0:1\nstate_directory: 3\n",
      [&](const google::protobuf::Message&, ConfigProblems*) { checked = true; }, &config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(checked) << "what is missing then is not known";
}

TEST(Address, TakesWhatOperatorsWrite) {
  EXPECT_EQ(ParseHostPort("cs.example.org:443")->port, 443);
  EXPECT_EQ(ParseHostPort("[::1]:9443")->host, "::1");
  for (const char* wrong : {"", ":443", "host", "host:", "host:70000", "host:-1", "::1:443"})
    EXPECT_FALSE(ParseHostPort(wrong).ok()) << wrong;
}

TEST(Config, ANameAndAPathAreCheckedWhole) {
  struct : ConfigProblems {
    void Add(const std::string& key, const std::string& text) override {
      all += key + ": " + text + "\n";
    }
    std::string all;
  } problems;
  RequireName("join.name", "", 255, &problems);
  RequireName("join.name", "web 1", 255, &problems);
  RequireAbsolutePath("a", "/mnt/a b", &problems);
  EXPECT_EQ(problems.all, "");
  RequireName("join.name", "na\"me", 255, &problems);
  RequireAbsolutePath("b", "/mnt\n", &problems);
  RequireAbsolutePath("c", "mnt", &problems);
  EXPECT_EQ(problems.all,
            "join.name: \"na\\\"me\" has a quotation mark (\")\n"
            "b: \"/mnt\\n\" has a control character (U+000a) at byte 5\n"
            "c: \"mnt\" is not an absolute path\n");
}

}  // namespace
}  // namespace homeward
