// The steps in a real Debian: its apt, dpkg and systemctl, in a root directory of its own.
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/guest/guest_doubles.h"
#include "mobility_agent/guest/guest_steps.h"

namespace homeward {
namespace {

constexpr char kConf[] = "/etc/vmware-tools/tools.conf";
constexpr char kEdited[] = "[logging]\nlog = true\n# edited\n";

class DebianRootTest : public ::testing::Test {
 protected:
  // Mounts of a namespace of its own: they are gone with this process.
  void SetUp() override {
    ASSERT_EQ(::geteuid(), 0u) << "this test mounts and changes its root: run it as root";
    const std::string tar = HOMEWARD_BINARY_DIR "/debian-root.tar";
    if (!std::filesystem::exists(tar)) {
      const absl::StatusOr<ProgramResult> made =
          RunProgramForOutput({HOMEWARD_SOURCE_DIR "/tests/fakes/debian_root", tar},
                              {.timeout = absl::Minutes(15), .output_bytes_max = 4096});
      ASSERT_TRUE(made.ok() && made->exit_code == 0)
          << (made.ok() ? made->output : made.status().ToString());
    }
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    char pattern[] = "/tmp/homeward-debian-XXXXXX";
    work_ = ::mkdtemp(pattern);
    ASSERT_EQ(::mount("tmpfs", work_.c_str(), "tmpfs", 0, "mode=755,size=2g"), 0);
    root_ = work_ + "/root";
    std::filesystem::create_directories(root_);
    const absl::Status unpacked = RunProgram({"tar", "-C", root_, "-xf", tar}, absl::Minutes(5));
    ASSERT_TRUE(unpacked.ok()) << unpacked;
    ASSERT_EQ(::mount("proc", (root_ + "/proc").c_str(), "proc", 0, nullptr), 0);
    ASSERT_EQ(::mount("/dev", (root_ + "/dev").c_str(), nullptr, MS_BIND | MS_REC, nullptr), 0);
  }
  void TearDown() override {
    guest_.reset();
    if (work_.empty()) return;
    ::umount2(work_.c_str(), MNT_DETACH);
    ::rmdir(work_.c_str());
  }
  // What the firmware says from now on, and a start of the agent.
  void BootAt(const std::string& vendor, const std::string& asset_tag) {
    guest_.reset();
    const std::string dmi = root_ + "/sys/class/dmi/id";
    std::filesystem::create_directories(dmi);
    std::ofstream(dmi + "/sys_vendor") << vendor << "\n";
    std::ofstream(dmi + "/chassis_asset_tag") << asset_tag << "\n";
    std::filesystem::create_directories(root_ + "/sys/class/net/eth0/device");
    std::ofstream(root_ + "/sys/class/net/eth0/type") << "1\n";
    auto strand = std::make_unique<testing::PlainStrand>(&later_);
    testing::PlainStrand* posted = strand.get();
    guest_ = std::make_unique<GuestSteps>(
        RealFileSystem(), GuestSteps::Options{.record_path = root_ + "/var/lib/homeward/guest"},
        GuestFiles(root_), MachineCommands(root_, stopping_), std::move(strand));
    posted->RunPosted();
    for (const types::v1::HealthIssue& issue : guest_->issues())
      ADD_FAILURE() << issue.problem().id() << ": " << issue.problem().message();
  }
  void BootAtHome() { BootAt("VMware, Inc.", "No Asset Tag"); }
  void BootInAzure() { BootAt("Microsoft Corporation", "7783-7084-3265-9085-8269-3286-77"); }
  // Of a command that may fail.
  std::string Say(const Command& command) {
    const auto ran = MachineCommands(root_, stopping_)->Run(command, absl::Minutes(5));
    return ran.ok() ? std::string(absl::StripAsciiWhitespace(ran->output))
                    : ran.status().ToString();
  }
  std::string Version() {
    return Say({"dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", "open-vm-tools"});
  }
  std::string Text(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(root_ + path).rdbuf();
    return text.str();
  }
  std::string work_, root_;
  absl::Notification stopping_;
  testing::PlainStrand::Later later_;
  std::unique_ptr<GuestSteps> guest_;
};

TEST_F(DebianRootTest, ToolsGoInAzureAndComeBackAsTheyWereAtHome) {
  const std::string version = Version();
  ASSERT_THAT(version, ::testing::HasSubstr(" installed"));
  std::ofstream(root_ + kConf) << kEdited;
  ASSERT_EQ(::chmod((root_ + kConf).c_str(), 0640), 0);
  Say({"systemctl", "disable", "vgauth.service"});
  ASSERT_THAT(Say({"systemctl", "is-enabled", "vgauth.service"}), ::testing::HasSubstr("disabled"));
  BootAtHome();
  EXPECT_EQ(Version(), version);

  BootInAzure();
  EXPECT_THAT(Version(), ::testing::HasSubstr("config-files"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/usr/bin/vmtoolsd"));
  const std::string log = Text("/var/log/dpkg.log");
  BootInAzure();
  EXPECT_EQ(Text("/var/log/dpkg.log"), log);
  // Somebody cleans up: what was kept is all that is left of it.
  Say({"dpkg", "--purge", "open-vm-tools"});
  ASSERT_FALSE(std::filesystem::exists(root_ + kConf));

  BootAtHome();
  EXPECT_EQ(Version(), version);
  EXPECT_EQ(Text(kConf), kEdited);
  struct stat is;
  ASSERT_EQ(::stat((root_ + kConf).c_str(), &is), 0);
  EXPECT_EQ(is.st_mode & 0777, 0640u);
  EXPECT_THAT(Say({"systemctl", "is-enabled", "open-vm-tools.service"}),
              ::testing::HasSubstr("enabled"));
  EXPECT_THAT(Say({"systemctl", "is-enabled", "vgauth.service"}), ::testing::HasSubstr("disabled"));
  EXPECT_EQ(Say({"apt-mark", "showmanual", "open-vm-tools"}), "open-vm-tools");
}

}  // namespace
}  // namespace homeward
