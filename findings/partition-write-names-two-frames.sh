#!/usr/bin/env bash
# What a BPF program at the kernel's tracepoint block_bio_queue sees of a write through a partition is in two frames of
# reference at once: the device is the partition's, the sector is already counted from the beginning of the whole disk.
# Whoever adds the partition's start to it, or looks for the disk's number only, marks the wrong place or none. Root; Linux
# with BTF, Debian 12's libbpf-dev 1.1.2-0+deb12u1, clang 14.0.6-12 and fdisk 2.38.1-5+deb12u3.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
loop=
finish() {
  [ -z "$loop" ] || { partx -d "$loop" 2>/dev/null || true; losetup -d "$loop"; }
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
chmod 755 .
apt-get download -qq fdisk=2.38.1-5+deb12u3 libbpf-dev=1:1.1.2-0+deb12u1 libbpf1=1:1.1.2-0+deb12u1 libelf-dev=0.188-2.1 \
  2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
[ "$(dpkg-query -W -f '${Version}' clang-14)" = 1:14.0.6-12 ] || { echo "needs clang-14 1:14.0.6-12"; exit 1; }
cat >look.bpf.c <<'C'
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define SHAPE __attribute__((preserve_access_index))
struct block_device { unsigned bd_dev; } SHAPE;
struct bvec_iter { unsigned long long bi_sector; } SHAPE;
struct bio { struct block_device *bi_bdev; struct bvec_iter bi_iter; } SHAPE;
unsigned process;
unsigned device;
unsigned long long sector;
SEC("tp_btf/block_bio_queue") int look(unsigned long long *arguments) {
  struct bio *bio = (struct bio *)arguments[0];
  if (bpf_get_current_pid_tgid() >> 32 != process) return 0;
  device = bio->bi_bdev->bd_dev;
  sector = bio->bi_iter.bi_sector;
  return 0;
}
char terms[] SEC("license") = "GPL";
C
cat >look.c <<'C'
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct { unsigned process, device; unsigned long long sector; } told;
int main(int count, char **words) {
  struct bpf_object *object = bpf_object__open("look.bpf.o");
  struct bpf_program *program = bpf_object__find_program_by_name(object, "look");
  struct bpf_map *map = bpf_object__find_map_by_name(object, ".bss");
  told.process = getpid();
  bpf_map__set_initial_value(map, &told, sizeof(told));
  if (bpf_object__load(object) != 0 || bpf_program__attach(program) == NULL) return 1;
  void *block;
  posix_memalign(&block, 4096, 4096);
  memset(block, 7, 4096);
  if (pwrite(open(words[1], O_WRONLY | O_DIRECT), block, 4096, 8 * 512) != 4096) return 1;
  int key = 0;
  bpf_map_lookup_elem(bpf_map__fd(map), &key, &told);
  printf("%u:%u sector %llu\n", told.device >> 20, told.device & 0xfffff, told.sector);
}
C
include="-Iroot/usr/include -I/usr/include/$(uname -m)-linux-gnu"
clang-14 -O2 -g -target bpf $include -c look.bpf.c -o look.bpf.o
clang-14 -w $include look.c -o look root/usr/lib/*/libbpf.a -lelf -lz
truncate -s 64M image
echo "start=20480, size=40960" | root/sbin/sfdisk -q image
loop=$(losetup --find --show image)
partx -a "$loop"
for _ in $(seq 100); do [ -b "${loop}p1" ] && break; sleep 0.1; done
disk=$(cat "/sys/class/block/${loop#/dev/}/dev")
part=$(cat "/sys/class/block/${loop#/dev/}p1/dev")
seen=$(./look "${loop}p1")
echo "kernel $(uname -r), libbpf $(dpkg-deb -f libbpf1_*.deb Version)"
echo "disk $disk, partition $part from sector 20480; of a write at the partition's sector 8 is told: $seen"
[ "$seen" = "$part sector 20488" ]
