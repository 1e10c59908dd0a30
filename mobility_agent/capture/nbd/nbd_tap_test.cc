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
    std::vector<Extent> changed(64);
    const auto collected = tap_->Collect(absl::MakeSpan(changed));
    EXPECT_TRUE(collected.ok()) << collected.status();
    EXPECT_FALSE(collected->more);
    changed.resize(collected->count);
    return changed;
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
      "PATH=/usr/bin:/bin nbdsh -u " + uri_ +  // Debian's Python has its module
      " -c 'h.set_strict_mode(0)' -c \"\ntry:\n  h.pwrite(bytes(4096), 33554432)\n  exit(1)\n"
      "except nbd.Error as e:\n  assert e.errno == \\\"ENOSPC\\\", e.errno\n\"" +
      " -c 'h.pwrite(bytes(512), 0)'";
  Run(command);
  EXPECT_NE(std::system(("qemu-io -f raw -c 'write 32M 4k' " + uri_ + " >/dev/null 2>&1").c_str()),
            0);
  Io("-c 'write -P 1 0 512'");
}

TEST_F(NbdTapTest, ALoggedWriteCarriesItsDataAndAFullLogIsGivenUpWhole) {
  WriteLog log(64 * kKiB);
  log.Open();
  ASSERT_TRUE(tap_->LogTo(&log, 3));
  Io("-c 'write -P 0x11 64k 8k' -c 'write -z 4k 4k' -c 'write -P 0x22 64k 4k'");
  ASSERT_TRUE(log.Mark({PointKind::kCrashConsistent, absl::UnixEpoch(), "here"}));
  EXPECT_EQ(Collect(), (std::vector<Extent>{}));
  Io("-c 'write -P 0x33 1M 60k'");
  EXPECT_FALSE(log.open());
  EXPECT_EQ(Collect(), (std::vector<Extent>{{kMiB, 60 * kKiB}}));
  Io("-c 'write -P 0x44 2M 4k'");
  EXPECT_EQ(Collect(), (std::vector<Extent>{{2 * kMiB, 4 * kKiB}})) << "behind a hole nothing goes";

  std::vector<LoggedWrite> writes;
  for (int i = 0; i < 3; ++i) writes.push_back(absl::get<LoggedWrite>(*log.Next()));
  EXPECT_EQ(writes[0].disk, 3u);
  EXPECT_EQ(writes[0].extent, (Extent{64 * kKiB, 8 * kKiB}));
  EXPECT_EQ(writes[0].data, std::string(8 * kKiB, '\x11'));
  EXPECT_EQ(writes[1].extent, (Extent{4 * kKiB, 4 * kKiB}));
  EXPECT_TRUE(writes[1].data.empty());
  EXPECT_EQ(writes[2].data, std::string(4 * kKiB, '\x22'));
  EXPECT_EQ(absl::get<Marker>(*log.Next()).id, "here");
  EXPECT_FALSE(log.Next().has_value());
  ASSERT_TRUE(tap_->LogTo(nullptr, 0));
}

// Many clients write the same places at once; what the log tells in its order is what the image
// has.
TEST_F(NbdTapTest, TheOrderOfTheLogIsTheOrderOnTheDisk) {
  WriteLog log(64 * kMiB);
  log.Open();
  ASSERT_TRUE(tap_->LogTo(&log, 0));
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([this, writer] {
      for (uint64_t i = 0; i < 500; ++i) {
        const uint64_t offset = (i * 7 % 5) * kSectorBytes;
        const std::string data(3 * kSectorBytes, static_cast<char>('A' + (writer * 500 + i) % 50));
        EXPECT_TRUE(tap_->WriteAt(offset, AsBytes(data)).ok());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::string replayed(8 * kSectorBytes, '\0');
  int count = 0;
  for (auto entry = log.Next(); entry.has_value(); entry = log.Next(), ++count) {
    const auto& write = absl::get<LoggedWrite>(*entry);
    replayed.replace(write.extent.offset, write.extent.length, write.data);
  }
  EXPECT_EQ(count, 2000);
  std::string image(replayed.size(), '\0');
  ASSERT_TRUE(tap_->Read(0, {reinterpret_cast<uint8_t*>(image.data()), image.size()}).ok());
  EXPECT_TRUE(image == replayed);
  ASSERT_TRUE(tap_->LogTo(nullptr, 0));
}

TEST_F(NbdTapTest, AWriteWaitsWhileFrozen) {
  tap_->BeginFreeze();
  ASSERT_TRUE(tap_->AwaitFrozen(absl::Seconds(10)).ok());
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
  tap_->BeginFreeze();
  ASSERT_TRUE(tap_->AwaitFrozen(absl::Seconds(10)).ok());
  absl::Status late;
  std::thread writer([&] { late = tap_->WriteAt(0, AsBytes(std::string(512, 'x'))); });
  EXPECT_TRUE(tap_->KeepForNextOpen());
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
