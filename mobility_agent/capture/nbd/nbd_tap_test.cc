// Against clients that we did not write: qemu-io, nbdcopy, nbdinfo, qemu-img.
#include "mobility_agent/capture/nbd/nbd_tap.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

constexpr uint64_t kDiskBytes = 32 * kMiB;

class NbdTapTest : public ::testing::Test {
 protected:
  NbdTapTest() {
    char pattern[] = "/tmp/homeward-tap-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    image_ = directory_ + "/image";
    Run("truncate -s " + std::to_string(kDiskBytes) + " " + image_);
    auto tap = NbdTap::Start(RealFileSystem(), image_, directory_ + "/s");
    EXPECT_TRUE(tap.ok()) << tap.status();
    tap_ = *std::move(tap);
    uri_ = "'nbd+unix:///?socket=" + directory_ + "/s'";
  }
  ~NbdTapTest() override {
    tap_.reset();
    std::filesystem::remove_all(directory_);
  }
  std::string Run(const std::string& command) {
    std::string out;
    std::array<char, 256> line;
    FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
    while (std::fgets(line.data(), line.size(), pipe) != nullptr) out += line.data();
    EXPECT_EQ(::pclose(pipe), 0) << command << ": " << out;
    return out;
  }
  std::string Io(const std::string& commands) {
    return Run("qemu-io -f raw " + commands + " " + uri_);
  }
  std::vector<Extent> Collect() {
    ExtentSet changed;
    EXPECT_TRUE(tap_->Collect(&changed).ok());
    return changed.Ranges();
  }

  std::string directory_, image_, uri_;
  std::unique_ptr<NbdTap> tap_;
};

TEST_F(NbdTapTest, IsWhatNbdinfoExpects) {
  const std::string info = Run("nbdinfo --json " + uri_);
  EXPECT_TRUE(absl::StrContains(info, "\"protocol\": \"newstyle-fixed\"")) << info;
  EXPECT_TRUE(absl::StrContains(info, "\"structured\": true")) << info;
  for (const char* what : {"can_multi_conn", "can_fua", "can_flush", "can_trim", "can_zero"}) {
    EXPECT_TRUE(absl::StrContains(info, std::string("\"") + what + "\": true"))
        << what << " in " << info;
  }
  EXPECT_TRUE(absl::StrContains(info, "\"export-size\": 33554432")) << info;
}

TEST_F(NbdTapTest, EveryKindOfWriteIsDoneAndNoted) {
  Io("-c 'write -P 0x5a 64k 128k'");
  EXPECT_EQ(Collect(), (std::vector<Extent>{{64 * kKiB, 128 * kKiB}}));
  Io("-c 'write -f -P 0x6b 1M 4k' -c 'flush'");
  EXPECT_EQ(Collect(), (std::vector<Extent>{{kMiB, 4 * kKiB}}));
  Io("-c 'write -z 96k 32k'");
  EXPECT_EQ(Collect(), (std::vector<Extent>{{96 * kKiB, 32 * kKiB}}));
  Io("-c 'discard 128k 16k'");
  EXPECT_EQ(Collect(), (std::vector<Extent>{{128 * kKiB, 16 * kKiB}}));
  Io("-c 'read -P 0x5a 64k 32k' -c 'read -P 0 96k 48k' -c 'read -P 0x5a 144k 48k' -c 'read -P 0x6b "
     "1M 4k'");
  EXPECT_EQ(Collect(), (std::vector<Extent>{}));
}

TEST_F(NbdTapTest, NbdcopyWithManyConnectionsGoesInAndOut) {
  Run("head -c " + std::to_string(kDiskBytes) + " /dev/urandom > " + directory_ + "/random");
  Run("nbdcopy --connections=4 " + directory_ + "/random " + uri_);
  EXPECT_EQ(Collect(), (std::vector<Extent>{{0, kDiskBytes}}));
  Run("nbdcopy --connections=4 " + uri_ + " " + directory_ + "/out");
  Run("cmp " + directory_ + "/random " + directory_ + "/out");
  Run("qemu-img compare -f raw -F raw " + uri_ + " " + directory_ + "/random");
}

TEST_F(NbdTapTest, AWritePastTheEndIsRefusedAndTheConnectionGoesOn) {
  const std::string command =
      "nbdsh -u " + uri_ +
      " -c 'h.set_strict_mode(0)' -c \"\ntry:\n  h.pwrite(bytes(4096), 33554432)\n  exit(1)\n"
      "except nbd.Error as e:\n  assert e.errno == \\\"ENOSPC\\\", e.errno\n\"" +
      " -c 'h.pwrite(bytes(512), 0)'";
  if (std::system("command -v nbdsh >/dev/null") == 0) Run(command);
  EXPECT_NE(std::system(("qemu-io -f raw -c 'write 32M 4k' " + uri_ + " >/dev/null 2>&1").c_str()),
            0);
  Io("-c 'write -P 1 0 512'");
}

TEST_F(NbdTapTest, AWriteWaitsWhileFrozen) {
  ASSERT_TRUE(tap_->Freeze(absl::Seconds(5)).ok());
  absl::Notification written;
  std::thread writer([&] {
    EXPECT_TRUE(tap_->WriteAt(0, AsBytes(std::string(512, 'x'))).ok());
    written.Notify();
  });
  EXPECT_FALSE(written.WaitForNotificationWithTimeout(absl::Milliseconds(50)));
  EXPECT_EQ(Collect(), (std::vector<Extent>{}));
  tap_->Thaw();
  written.WaitForNotification();
  writer.join();
  EXPECT_EQ(Collect(), (std::vector<Extent>{{0, 512}}));
}

TEST_F(NbdTapTest, AfterTheEndOfWritesNothingReachesTheImageAndNobodyWaits) {
  ASSERT_TRUE(tap_->Freeze(absl::Seconds(5)).ok());
  absl::Status late;
  std::thread writer([&] { late = tap_->WriteAt(0, AsBytes(std::string(512, 'x'))); });
  EXPECT_TRUE(tap_->EndWrites());
  writer.join();
  EXPECT_EQ(late.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(tap_->ZeroAt(0, 512).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Collect(), (std::vector<Extent>{}));
}

TEST_F(NbdTapTest, GarbageEndsOnlyItsOwnConnection) {
  Run("head -c 100000 /dev/urandom | timeout 5 python3 -c \"import socket,sys; "
      "s=socket.socket(socket.AF_UNIX); "
      "s.connect('" +
      directory_ + "/s'); s.sendall(sys.stdin.buffer.read(64)); s.shutdown(1); s.recv(9)\"");
  Io("-c 'write -P 1 0 512'");
  EXPECT_EQ(NbdTap::Start(RealFileSystem(), image_, directory_ + "/s").status().code(),
            absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace homeward
