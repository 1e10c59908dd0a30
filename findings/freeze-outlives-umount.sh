#!/usr/bin/env bash
# FIFREEZE belongs to nobody. When the process that froze a file system ends, by whatever means, the file system stays
# frozen. And umount of a frozen file system succeeds without ending it: the kernel keeps the superblock, the device stays
# in use, and the next mount of that device gives the same superblock, still frozen. Root; Linux and Debian 12's
# e2fsprogs 1.47.0-2+b2.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
loop=
finish() {
  if [ -n "$loop" ]; then
    mountpoint -q "$work/mnt" || mount "$loop" "$work/mnt" || true
    fsfreeze -u "$work/mnt" 2>/dev/null || true
    umount "$work/mnt" || true
    losetup -d "$loop"
  fi
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
chmod 755 .
apt-get download -qq e2fsprogs=1.47.0-2+b2 2>/dev/null
dpkg -x e2fsprogs_*.deb root
truncate -s 64M image
root/sbin/mkfs.ext4 -q image
loop=$(losetup --find --show image)
mkdir mnt
mount "$loop" mnt
# A frozen file system refuses to be frozen.
is_frozen() {
  if fsfreeze -f mnt 2>/dev/null; then
    fsfreeze -u mnt
    echo no
  else
    echo yes
  fi
}

# The freezer is killed while it holds the mount open.
/usr/bin/python3 -c '
import fcntl, os, signal, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0xC0045877, 0)  # FIFREEZE
os.kill(os.getpid(), signal.SIGKILL)' mnt 2>/dev/null || true
after_kill=$(is_frozen)
umount mnt && unmounted=yes || unmounted=no
in_use=no
/usr/bin/python3 -c 'import os, sys; os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL)' "$loop" 2>/dev/null || in_use=yes
mount "$loop" mnt
after_mount=$(is_frozen)
fsfreeze -u mnt
after_thaw=$(is_frozen)
echo "kernel $(uname -r), $(root/sbin/mkfs.ext4 -V 2>&1 | head -1)"
echo "frozen: after its freezer was killed $after_kill, after umount ($unmounted) and mount $after_mount, after a thaw $after_thaw"
echo "its device is in use while it is mounted nowhere: $in_use"
[ "$after_kill$unmounted$in_use$after_mount$after_thaw" = yesyesyesyesno ]
