#!/usr/bin/env bash
# A file system that FIFREEZE reports as frozen goes on writing to its device, when a swap file is on it: the kernel
# writes pages straight to the file's blocks, past the file system that stands still. So "frozen" alone does not mean that
# a copy of the device is one instant. Root; Linux and Debian 12's e2fsprogs 1.47.0-2+b2.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
loop=
finish() {
  [ -z "$loop" ] || { fsfreeze -u "$work/mnt" 2>/dev/null || true; swapoff "$work/mnt/swap" 2>/dev/null || true
                      umount "$work/mnt" || true; losetup -d "$loop"; }
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
chmod 755 .
apt-get download -qq e2fsprogs=1.47.0-2+b2 2>/dev/null
dpkg -x e2fsprogs_*.deb root
truncate -s 200M image
root/sbin/mkfs.ext4 -q image
loop=$(losetup --find --show image)
mkdir mnt
mount "$loop" mnt
dd if=/dev/zero of=mnt/swap bs=1M count=64 status=none
chmod 600 mnt/swap
mkswap -q mnt/swap
swapon --priority 32767 mnt/swap
# A frozen file system refuses to be frozen.
is_frozen() {
  if fsfreeze -f mnt 2>/dev/null; then
    fsfreeze -u mnt
    echo no
  else
    echo yes
  fi
}
written() { awk '{ print $7 * 512 }' "/sys/block/${loop#/dev/}/stat"; }

sync -f mnt
fsfreeze -f mnt
before=$(written)
# A process whose 16 MiB are asked out of memory.
/usr/bin/python3 - <<'PYTHON'
import mmap, os, time
memory = mmap.mmap(-1, 16 << 20)
memory.write(os.urandom(16 << 20))
memory.madvise(21)  # MADV_PAGEOUT
time.sleep(1)
PYTHON
bytes=$(($(written) - before))
still_frozen=$(is_frozen)
echo "kernel $(uname -r), $(root/sbin/mkfs.ext4 -V 2>&1 | head -1)"
echo "frozen all the time: $still_frozen; bytes written to its device meanwhile: $bytes"
[ "$still_frozen" = yes ] && [ "$bytes" -ge $((8 << 20)) ]
