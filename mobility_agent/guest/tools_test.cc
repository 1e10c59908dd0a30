#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/guest/debian_tools.h"
#include "mobility_agent/guest/guest_doubles.h"
#include "mobility_agent/guest/windows_tools.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;

constexpr char kConf[] = "/etc/vmware-tools/tools.conf";

class DebianToolsTest : public ::testing::Test {
 protected:
  DebianToolsTest() {
    machine_.Put(kConf, "[logging]\nlog = true\n");
    machine_.Put("/run/systemd/system/x", "");
    SetInstalled("2:12.2");
    commands_.answers["apt-mark showmanual"] = ProgramResult{0, "bash\nopen-vm-tools\n"};
    commands_.answers["Conffiles"] = ProgramResult{0, " /etc/vmware-tools/tools.conf 76d7\n\n"};
    commands_.answers["--listfiles"] =
        ProgramResult{0, "/lib/systemd/system/open-vm-tools.service\n/usr/bin/vmtoolsd\n"};
    commands_.answers["is-enabled"] = ProgramResult{0, "enabled\n"};
    commands_.answers["madison"] =
        ProgramResult{0, "open-vm-tools | 2:12.9 | http://x\nopen-vm-tools | 2:12.2 | http://y\n"};
    commands_.on_run = [this](const std::string& line) {
      if (absl::StrContains(line, "force-confold remove")) SetInstalled("");
      if (absl::StrContains(line, "open-vm-tools=2:12.2")) SetInstalled("2:12.2");
    };
  }
  void SetInstalled(const std::string& version) {
    commands_.answers["db:Status-Status"] =
        version.empty() ? ProgramResult{0, "open-vm-tools\t2:12.2\tconfig-files\n"}
                        : ProgramResult{0, absl::StrCat("open-vm-tools\t", version,
                                                        "\tinstalled\nopen-vm-tools-desktop\t\t"
                                                        "not-installed\n")};
  }
  absl::Status Go(bool away) {
    return DebianTools({files_, commands_}).Go(away, &record_, [] { return absl::OkStatus(); });
  }
  testing::MachineDirectory machine_;
  GuestFiles files_{machine_.root()};
  testing::SeemingCommands commands_;
  GuestRecord record_;
};

TEST_F(DebianToolsTest, RemovedOnceAndTheSameVersionComesBack) {
  ASSERT_TRUE(Go(true).ok());
  EXPECT_TRUE(commands_.Ran("force-confold remove open-vm-tools"));
  EXPECT_EQ(record_.tools.packages,
            (std::vector<GuestRecord::Package>{{"open-vm-tools", "2:12.2", true}}));
  EXPECT_EQ(record_.tools.services,
            (std::vector<GuestRecord::Service>{{"open-vm-tools.service", "enabled"}}));
  const size_t ran = commands_.ran.size();
  ASSERT_TRUE(Go(true).ok());
  EXPECT_EQ(commands_.ran.size(), ran);

  // Somebody purged it: the package's own configuration comes, and has to give way.
  machine_.Delete(kConf);
  commands_.on_run = [this](const std::string& line) {
    if (!absl::StrContains(line, "open-vm-tools=2:12.2")) return;
    SetInstalled("2:12.2");
    machine_.Put(kConf, "default\n");
  };
  commands_.answers["is-enabled"] = ProgramResult{1, "disabled\n"};
  ASSERT_TRUE(Go(false).ok());
  EXPECT_EQ(machine_.Get(kConf), "[logging]\nlog = true\n");
  EXPECT_TRUE(commands_.Ran("systemctl enable open-vm-tools.service"));
  EXPECT_TRUE(commands_.Ran("systemctl start open-vm-tools.service"));
  EXPECT_FALSE(commands_.Ran("apt-mark auto"));
  EXPECT_TRUE(record_ == GuestRecord());
  EXPECT_TRUE(machine_.All("/etc/homeward").empty());
}

TEST_F(DebianToolsTest, AVersionThatCannotBeHadIsTheNewest) {
  ASSERT_TRUE(Go(true).ok());
  commands_.answers["madison"] = ProgramResult{0, "open-vm-tools | 2:12.9 | http://x\n"};
  // It says that it went well.
  EXPECT_TRUE(absl::IsUnavailable(Go(false)));
  commands_.on_run = [this](const std::string& line) {
    if (absl::StrContains(line, "--allow-downgrades open-vm-tools")) SetInstalled("2:12.9");
  };
  ASSERT_TRUE(Go(false).ok());
  EXPECT_FALSE(commands_.Ran("open-vm-tools=2:12.2"));
  EXPECT_TRUE(commands_.Ran("--allow-downgrades open-vm-tools"));
}

TEST_F(DebianToolsTest, NothingElseGoesWithIt) {
  commands_.answers["--simulate"] =
      ProgramResult{0, "Remv open-vm-tools [2:12.2]\nRemv site-base [1]\nInst qemu-agent (1)\n"};
  const absl::Status refused = Go(true);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("remove site-base, install qemu-agent"));
  EXPECT_FALSE(commands_.Ran("force-confold remove"));
  EXPECT_EQ(record_.tools.phase, GuestPhase::kHome);
}

TEST_F(DebianToolsTest, ConfigurationThatWasChangedMeanwhileStays) {
  ASSERT_TRUE(Go(true).ok());
  machine_.Put(kConf, "theirs\n");
  const absl::Status changed = Go(false);
  EXPECT_TRUE(absl::IsAlreadyExists(changed)) << changed;
  EXPECT_EQ(machine_.Get(kConf), "theirs\n");
  EXPECT_TRUE(commands_.Ran("open-vm-tools=2:12.2")) << "the rest is done";
  machine_.Delete(absl::StrCat(kKeptDirectory, kConf));
  ASSERT_TRUE(Go(false).ok());
  EXPECT_EQ(machine_.Get(kConf), "theirs\n");
}

TEST_F(DebianToolsTest, AnInterruptedRemovalIsMendedAndFinished) {
  commands_.answers["force-confold remove"] = absl::CancelledError("the agent stops");
  commands_.on_run = nullptr;
  EXPECT_TRUE(absl::IsCancelled(Go(true)));
  EXPECT_EQ(record_.tools.phase, GuestPhase::kLeaving);
  commands_.answers.erase("force-confold remove");
  commands_.on_run = [this](const std::string& line) {
    if (absl::StrContains(line, "force-confold remove")) SetInstalled("");
  };
  ASSERT_TRUE(Go(true).ok());
  EXPECT_TRUE(commands_.Ran("--configure --pending"));
  EXPECT_EQ(record_.tools.packages.size(), 1u);
}

TEST_F(DebianToolsTest, AMachineWithoutToolsGetsNone) {
  SetInstalled("");
  ASSERT_TRUE(Go(true).ok());
  ASSERT_TRUE(Go(false).ok());
  EXPECT_FALSE(commands_.Ran("remove"));
  EXPECT_FALSE(commands_.Ran("install "));
}

TEST(WindowsTools, EachServiceGetsItsStartTypeBack) {
  testing::SeemingCommands commands;
  commands.answers["sc.exe qc"] = ProgramResult{1060, "does not exist"};
  commands.answers["sc.exe qc VMTools"] =
      ProgramResult{0, "        START_TYPE         : 2   AUTO_START  (DELAYED)\r\n"};
  commands.answers["sc.exe qc VGAuthService"] =
      ProgramResult{0, "        START_TYPE         : 3   DEMAND_START\r\n"};
  commands.answers["sc.exe qc vmvss"] =
      ProgramResult{0, "        START_TYPE         : 4   DISABLED\r\n"};
  commands.answers["sc.exe stop VGAuthService"] = ProgramResult{1062, "not started"};
  GuestRecord record;
  const auto save = [] { return absl::OkStatus(); };
  ASSERT_TRUE(WindowsTools(commands).Go(true, &record, save).ok());
  EXPECT_TRUE(commands.Ran("sc.exe config VMTools start= disabled"));
  EXPECT_TRUE(commands.Ran("sc.exe stop VMTools"));
  EXPECT_FALSE(commands.Ran("sc.exe config vmvss"));
  commands.ran.clear();
  ASSERT_TRUE(WindowsTools(commands).Go(true, &record, save).ok());
  EXPECT_TRUE(commands.ran.empty());

  for (const char* name : {"VMTools", "VGAuthService"})
    commands.answers[absl::StrCat("sc.exe qc ", name)] =
        ProgramResult{0, "        START_TYPE         : 4   DISABLED\r\n"};
  ASSERT_TRUE(WindowsTools(commands).Go(false, &record, save).ok());
  EXPECT_TRUE(commands.Ran("sc.exe config VMTools start= delayed-auto"));
  EXPECT_TRUE(commands.Ran("sc.exe start VMTools"));
  EXPECT_TRUE(commands.Ran("sc.exe config VGAuthService start= demand"));
  EXPECT_FALSE(commands.Ran("sc.exe start VGAuthService"));
  EXPECT_FALSE(commands.Ran("sc.exe config vmvss"));
}

TEST(WindowsTools, AFailureNamesTheCommandAndItsEnd) {
  testing::SeemingCommands commands;
  commands.answers["sc.exe qc"] = ProgramResult{1060, ""};
  commands.answers["sc.exe qc VMTools"] = ProgramResult{0, "START_TYPE : 2 AUTO_START\n"};
  commands.answers["sc.exe config"] = ProgramResult{5, "Access is denied."};
  GuestRecord record;
  const absl::Status failed =
      WindowsTools(commands).Go(true, &record, [] { return absl::OkStatus(); });
  EXPECT_THAT(std::string(failed.message()), HasSubstr("sc.exe config VMTools ended with 5"));
}

}  // namespace
}  // namespace homeward
