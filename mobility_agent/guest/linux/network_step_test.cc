#include "mobility_agent/guest/network_step.h"

#include <sys/stat.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/guest/guest_doubles.h"
#include "mobility_agent/guest/network_texts.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;

constexpr char kInterfaces[] = "/etc/network/interfaces";
constexpr char kStatic[] =
    "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n# the card\n"
    "allow-hotplug ens192\niface ens192 inet static\n  address 10.1.2.3/24\n  gateway 10.1.2.1\n";

class NetworkStepTest : public ::testing::Test {
 protected:
  NetworkStepTest() {
    machine_.Put("/sbin/ifup", "");
    machine_.Put(kInterfaces, kStatic);
    machine_.Put("/etc/network/interfaces.d/vlan", "iface ens192.7 inet manual\n");
    machine_.Put("/etc/resolv.conf", "nameserver 10.1.2.1\n");
    ::chmod((machine_.root() + kInterfaces).c_str(), 0640);
  }
  // Saves fail from the `saves_left_`-th on, as those of a machine that dies.
  absl::Status Go(bool away) {
    return NetworkStep({files_, commands_}).Go(away, &record_, [&] {
      if (saves_left_ == 0) return absl::UnknownError("died");
      --saves_left_;
      saved_ = record_;
      return absl::OkStatus();
    });
  }
  void Restart() {
    record_ = saved_;
    saves_left_ = 100;
  }
  int saves_left_ = 100;
  testing::MachineDirectory machine_;
  GuestFiles files_{machine_.root()};
  testing::SeemingCommands commands_;
  GuestRecord record_, saved_;
};

TEST_F(NetworkStepTest, AwayItIsDhcpAndAtHomeEveryFileIsAsItWas) {
  const auto before = machine_.All("/etc");
  ASSERT_TRUE(Go(true).ok());
  EXPECT_THAT(machine_.Get(kInterfaces), HasSubstr("iface eth0 inet dhcp"));
  EXPECT_THAT(machine_.Get(kInterfaces), ::testing::Not(HasSubstr("ens192")));
  EXPECT_TRUE(commands_.Ran("ifup --force eth0"));
  const size_t ran = commands_.ran.size();
  ASSERT_TRUE(Go(true).ok());
  EXPECT_EQ(commands_.ran.size(), ran) << "away already, and something was done";
  // As its DHCP client does.
  machine_.Put("/etc/resolv.conf", "nameserver 168.63.129.16\n");

  ASSERT_TRUE(Go(false).ok());
  auto after = machine_.All("/etc");
  EXPECT_EQ(after["/etc/homeward/kept/etc/resolv.conf.away"], "nameserver 168.63.129.16\n");
  after.erase("/etc/homeward/kept/etc/resolv.conf.away");
  EXPECT_EQ(after, before);
  struct stat is;
  ASSERT_EQ(::stat((machine_.root() + kInterfaces).c_str(), &is), 0);
  EXPECT_EQ(is.st_mode & 0777, 0640u);
  EXPECT_TRUE(record_ == GuestRecord());
}

TEST_F(NetworkStepTest, WhatAnOperatorChangedMeanwhileIsNotOverwritten) {
  ASSERT_TRUE(Go(true).ok());
  machine_.Put(kInterfaces, "iface eth0 inet static\n");
  const auto before = machine_.All("/etc");
  const absl::Status refused = Go(false);
  EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("remove /etc/homeward/kept/etc/network/interfaces"));
  EXPECT_EQ(machine_.All("/etc"), before);
  // They want home's again.
  machine_.Delete(kInterfaces);
  ASSERT_TRUE(Go(false).ok());
  EXPECT_EQ(machine_.Get(kInterfaces), kStatic);
}

TEST_F(NetworkStepTest, WhoRemovesWhatWasKeptKeepsTheirs) {
  ASSERT_TRUE(Go(true).ok());
  machine_.Put(kInterfaces, "iface eth0 inet static\n");
  machine_.Delete("/etc/homeward/kept/etc/network/interfaces");
  ASSERT_TRUE(Go(false).ok());
  EXPECT_EQ(machine_.Get(kInterfaces), "iface eth0 inet static\n");
  EXPECT_TRUE(record_ == GuestRecord());
}

TEST_F(NetworkStepTest, WhereverItDiesTheNextStartFinishesIt) {
  const auto before = machine_.All("/etc");
  // At each save, and at each command.
  for (int saves = 0; saves < 3; ++saves) {
    for (const bool away : {true, false}) {
      saves_left_ = saves;
      Go(away).IgnoreError();
      Restart();
      ASSERT_TRUE(Go(away).ok());
      if (away) {
        EXPECT_THAT(machine_.Get(kInterfaces), HasSubstr("iface eth0 inet dhcp"));
      } else {
        EXPECT_EQ(machine_.All("/etc"), before);
      }
    }
  }
  for (const char* failing : {"ifup --force eth0", "ifup --all"}) {
    commands_.answers[failing] = ProgramResult{1, "no answer"};
    EXPECT_TRUE(absl::IsUnavailable(Go(true))) << failing;
    // It is home before it was whole.
    commands_.answers.clear();
    Restart();
    ASSERT_TRUE(Go(false).ok());
    EXPECT_EQ(machine_.All("/etc"), before);
  }
}

TEST_F(NetworkStepTest, AwayAgainWhileItComesHome) {
  ASSERT_TRUE(Go(true).ok());
  commands_.answers["ifup --all"] = ProgramResult{1, "no answer"};
  EXPECT_FALSE(Go(false).ok());
  commands_.answers.clear();
  Restart();
  ASSERT_TRUE(Go(true).ok());
  EXPECT_THAT(machine_.Get(kInterfaces), HasSubstr("iface eth0 inet dhcp"));
  ASSERT_TRUE(Go(false).ok());
  EXPECT_EQ(machine_.Get(kInterfaces), kStatic);
}

TEST_F(NetworkStepTest, NetplanAndNetworkd) {
  machine_.Put(kInterfaces, "auto lo\niface lo inet loopback\n");
  machine_.Delete("/etc/network/interfaces.d/vlan");
  machine_.Put("/etc/netplan/00-installer.yaml",
               "network:\n  ethernets:\n    ens192:\n      addresses: [10.1.2.3/24]\n");
  machine_.Put("/etc/systemd/network/20-wired.network",
               "[Match]\nName=ens192\n[Network]\nAddress=10.1.2.3/24\n");
  machine_.Put("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service", "");
  const auto before = machine_.All("/etc");
  ASSERT_TRUE(Go(true).ok());
  EXPECT_FALSE(machine_.Has("/etc/netplan/00-installer.yaml"));
  EXPECT_THAT(machine_.Get("/etc/netplan/90-homeward.yaml"), HasSubstr("eth0:\n      dhcp4: true"));
  EXPECT_FALSE(machine_.Has("/etc/systemd/network/20-wired.network"));
  EXPECT_THAT(machine_.Get("/etc/systemd/network/10-homeward.network"),
              HasSubstr("Name=eth0\n\n[Network]\nDHCP=yes"));
  EXPECT_TRUE(commands_.Ran("netplan apply"));
  EXPECT_TRUE(commands_.Ran("networkctl reconfigure eth0"));
  EXPECT_FALSE(commands_.Ran("ifup"));
  machine_.Put("/etc/netplan/90-homeward.yaml", "mine");
  EXPECT_TRUE(absl::IsAlreadyExists(Go(false)));
  machine_.Delete("/etc/netplan/90-homeward.yaml");
  ASSERT_TRUE(Go(false).ok());
  EXPECT_EQ(machine_.All("/etc"), before);
}

TEST_F(NetworkStepTest, WhatServesAlreadyStays) {
  machine_.Put(kInterfaces, "auto eth0\niface eth0 inet dhcp\n");
  machine_.Delete("/etc/network/interfaces.d/vlan");
  ASSERT_TRUE(Go(true).ok());
  EXPECT_TRUE(commands_.ran.empty());
  EXPECT_FALSE(machine_.Has("/etc/homeward"));
}

TEST_F(NetworkStepTest, WithoutAnInterfaceItWaits) {
  machine_.Delete("/sys/class/net");
  EXPECT_TRUE(absl::IsUnavailable(Go(true)));
  EXPECT_EQ(machine_.Get(kInterfaces), kStatic);
}

TEST(NetworkTexts, WhatServes) {
  EXPECT_TRUE(NetworkdServes({"[Match]\nName=en* eth0\n[Network]\nDHCP = yes\n"}, {"eth0"}));
  EXPECT_FALSE(NetworkdServes({"[Match]\nName=en*\n[Network]\nDHCP=yes\n"}, {"eth0"}));
  EXPECT_FALSE(NetworkdServes({"[Match]\nName=eth0\n[Network]\nDHCP=ipv6\n"}, {"eth0"}));
  EXPECT_TRUE(NetplanServes({"ethernets:\n  eth0:\n    dhcp4: true\n"}, {"eth0"}));
  EXPECT_FALSE(NetplanServes({"ethernets:\n  ens160:\n    dhcp4: true\n"}, {"eth0"}));
  EXPECT_FALSE(IfupdownServes({"iface eth0 inet dhcp\niface eth1 inet static\n"}, {"eth0"}));
}

}  // namespace
}  // namespace homeward
