#!/usr/bin/env bash
# Reading a block device that a file system is mounted on gives content of the past, for as long as the page cache likes: the
# device's pages and those of the files are two caches, and nothing keeps them the same. After a file was overwritten in
# place and synced, a read of its block through the device still gives what was read there before; a read with O_DIRECT
# gives what is on the disk. Root; Linux, Debian 12's e2fsprogs 1.47.0-2+b2.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
loop=
finish() {
  umount "$work/mnt" 2>/dev/null || true
  [ -z "$loop" ] || losetup -d "$loop"
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
chmod 755 .
apt-get download -qq e2fsprogs=1.47.0-2+b2 2>/dev/null
dpkg -x e2fsprogs_*.deb root
truncate -s 64M image
root/sbin/mkfs.ext4 -q -b 4096 image
loop=$(losetup --find --show image)
mkdir mnt
mount "$loop" mnt
fill() { head -c 4096 /dev/zero | tr '\0' "$1" | dd of=mnt/file bs=4096 conv=notrunc,fsync status=none; }
first_byte() { dd if="$loop" bs=4096 skip="$block" count=1 status=none "$@" | head -c 1; }
fill A
block=$(root/sbin/debugfs -R 'blocks file' "$loop" 2>/dev/null | tr -d ' ')
[ -n "$block" ]
before=$(first_byte)
fill B
sync
buffered=$(first_byte)
direct=$(first_byte iflag=direct)
same_block=$(root/sbin/debugfs -R 'blocks file' "$loop" 2>/dev/null | tr -d ' ')
echo "kernel $(uname -r), block $block of the device, the file was overwritten in the same block: $([ "$block" = "$same_block" ] && echo yes || echo no)"
echo "before: $before; after the overwrite and sync: buffered read $buffered, direct read $direct"
[ "$before$buffered$direct" = AAB ]
