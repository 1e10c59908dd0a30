// Numbered writes of 4 KiB, each on the disk before the next is issued: a copy of the disk in which one is present and
// an earlier one is not was never the disk's content.
//
// usage: ordered_writer PATH OFFSET RUN PAUSE_US
//
// Writes to 512 places from OFFSET on, 64 KiB apart, each once and then in an order that returns to each after 512
// writes, until it is killed. Every block begins with RUN (16 characters), the number of the write and the place, little-endian. After
// the first 512 a line goes to standard output. PAUSE_US after every 64th write lets others come between.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

enum { kPlaces = 512, kStep = 197, kBlockBytes = 4096, kRunBytes = 16, kApartBytes = 65536 };

int main(int argc, char **argv) {
  if (argc != 5 || strlen(argv[3]) != kRunBytes) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const off_t base = strtoll(argv[2], NULL, 10);
  const useconds_t pause_us = (useconds_t)strtoul(argv[4], NULL, 10);
  const int fd = open(argv[1], O_RDWR | O_CREAT | O_DIRECT | O_DSYNC | O_CLOEXEC, 0644);
  void *memory = NULL;
  if (fd < 0 || posix_memalign(&memory, kBlockBytes, kBlockBytes) != 0) {
    perror(argv[1]);
    return 1;
  }
  unsigned char *const block = memory;
  memset(block, 0x5a, kBlockBytes);
  // So that no place has to be found later, and they are apart on the disk too.
  for (off_t at = 0; at < (off_t)kPlaces * kApartBytes; at += kApartBytes) {
    static unsigned char zeroes[kApartBytes] __attribute__((aligned(4096)));
    if (pwrite(fd, zeroes, kApartBytes, base + at) != kApartBytes) return 1;
  }
  memcpy(block, argv[3], kRunBytes);
  for (uint64_t number = 1;; ++number) {
    const uint32_t place = (uint32_t)(number * kStep % kPlaces);
    memcpy(block + kRunBytes, &number, sizeof number);
    memcpy(block + kRunBytes + sizeof number, &place, sizeof place);
    if (pwrite(fd, block, kBlockBytes, base + (off_t)place * kApartBytes) != kBlockBytes) {
      perror("write");
      return 1;
    }
    if (number == kPlaces && write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
    // The pause is what is tried: a window in which nothing is written.
    if (pause_us != 0 && number % 64 == 0) usleep(pause_us);
  }
}
