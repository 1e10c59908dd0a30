#!/usr/bin/env bash
# /sys/block/DISK/holders is where the kernel lists what is stacked on a disk (device-mapper, md). A loop device on a block
# device is not listed there, nor is the disk among the loop's slaves, so a search through holders finds no file system
# above; only /sys/block/loopN/loop/backing_file tells. Root; Linux, Debian 12's e2fsprogs 1.47.0-2+b2.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
lower= upper=
finish() {
  umount "$work/mnt" 2>/dev/null || true
  [ -z "$upper" ] || losetup -d "$upper"
  [ -z "$lower" ] || losetup -d "$lower"
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
chmod 755 .
apt-get download -qq e2fsprogs=1.47.0-2+b2 2>/dev/null
dpkg -x e2fsprogs_*.deb root
truncate -s 64M image
lower=$(losetup --find --show image)
upper=$(losetup --find --show "$lower")
root/sbin/mkfs.ext4 -q "$upper"
mkdir mnt
mount "$upper" mnt
holders=$(ls "/sys/block/${lower#/dev/}/holders" | wc -l)
slaves=$(ls "/sys/block/${upper#/dev/}/slaves" | wc -l)
backing=$(cat "/sys/block/${upper#/dev/}/loop/backing_file")
echo "kernel $(uname -r)"
echo "ext4 is mounted on a loop of a loop: holders of the lower $holders, slaves of the upper $slaves, backing file ${backing/$lower/the lower}"
[ "$holders" = 0 ] && [ "$slaves" = 0 ] && [ "$backing" = "$lower" ]
