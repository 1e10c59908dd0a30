#include "mobility_agent/guest/boot_checks.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mobility_agent/guest/guest_doubles.h"

namespace homeward {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(BootChecks, NamesThatChangeAreTold) {
  const testing::MachineDirectory machine;
  const GuestFiles files(machine.root());
  machine.Put("/etc/fstab",
              "# /dev/sda9\nUUID=1 / ext4 defaults 0 1\nLABEL=x /x ext4 defaults 0 0\n"
              "PARTUUID=2 /p ext4 defaults 0 0\n/dev/mapper/vg-home /home ext4 defaults 0 2\n"
              "/dev/vg/var /var ext4 defaults 0 2\n/dev/sr0 /media/cdrom0 iso9660 user,noauto 0 0\n"
              "/dev/sdb1 /data ext4 defaults 0 2\n/dev/disk/by-uuid/3 /u ext4 defaults 0 0\n"
              "/dev/disk/by-path/pci-0 none swap sw 0 0\n");
  machine.Put("/etc/crypttab", "secret /dev/nvme0n1p3 none luks\n");
  machine.Put("/etc/default/grub", "GRUB_CMDLINE_LINUX=\"root=/dev/sda1 quiet\"\n");
  machine.Put("/boot/grub/grub.cfg",
              "linux /vmlinuz root=/dev/sda1 ro\nlinux /vmlinuz root=/dev/sda1 ro single\n"
              "linux /vmlinuz root=UUID=1 ro\n");
  EXPECT_THAT(
      UnsteadyNames(files),
      ElementsAre("/etc/fstab: /dev/sdb1 at /data", "/etc/fstab: /dev/disk/by-path/pci-0 at none",
                  "/etc/crypttab: /dev/nvme0n1p3 as secret", "/etc/default/grub: root=/dev/sda1",
                  "/boot/grub/grub.cfg: root=/dev/sda1"));
}

TEST(BootChecks, DriversAreInTheInitramfsOrBuiltIn) {
  const testing::MachineDirectory machine;
  const GuestFiles files(machine.root());
  testing::SeemingCommands commands;
  for (const char* kernel : {"6.1", "6.2", "6.3", "6.4"}) {
    machine.Put(absl::StrCat("/boot/vmlinuz-", kernel), "");
    machine.Put(absl::StrCat("/boot/initrd.img-", kernel), "");
    machine.Put(absl::StrCat("/lib/modules/", kernel, "/modules.order"),
                "kernel/drivers/hv/hv_vmbus.ko\nkernel/drivers/scsi/hv_storvsc.ko\n"
                "kernel/drivers/net/hyperv/hv_netvsc.ko\n");
  }
  machine.Put("/boot/vmlinuz-5.0", "");  // without modules: what is left of a kernel
  commands.answers["lsinitramfs"] = ProgramResult{0, "usr/lib/modules/x/ext4.ko\n"};
  commands.answers["lsinitramfs /boot/initrd.img-6.1"] =
      ProgramResult{0, "lib/modules/6.1/hv_vmbus.ko\nlib/modules/6.1/hv_storvsc.ko.xz\n"};
  machine.Put("/lib/modules/6.3/modules.builtin",
              "kernel/drivers/hv/hv_vmbus.ko\nkernel/drivers/scsi/hv_storvsc.ko\n");
  machine.Put("/boot/config-6.4", "CONFIG_HYPERV=y\nCONFIG_HYPERV_STORAGE=m\n");
  machine.Delete("/lib/modules/6.4/modules.order");
  machine.Put("/lib/modules/6.4/modules.order", "");
  EXPECT_THAT(MissingHypervDrivers(files, commands),
              ElementsAre("6.2: hv_vmbus, hv_storvsc", "6.4: hv_storvsc, hv_netvsc"));
  // Nothing that can look into them: what is installed is believed.
  commands.answers.clear();
  commands.answers["lsinit"] = absl::NotFoundError("this machine has none");
  machine.Put("/boot/config-6.4",
              "CONFIG_HYPERV=y\nCONFIG_HYPERV_STORAGE=y\nCONFIG_HYPERV_NET=y\n");
  EXPECT_THAT(MissingHypervDrivers(files, commands), IsEmpty());
}

}  // namespace
}  // namespace homeward
