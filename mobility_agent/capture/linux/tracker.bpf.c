// Marks every block of one disk that is written, discarded or zeroed, through whichever partition. Loaded once
// for each tracked disk. A write is marked when it is queued and again when it completes: a mark that is
// collected between the two would otherwise be a lost change.
//
// Kernels from 5.11 on, with BTF: since then block_bio_queue has the bio as its only argument.
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

// Only what we read of the kernel's types; the loader finds the offsets in the running kernel's BTF.
#define KERNEL_TYPE __attribute__((preserve_access_index))
struct gendisk {
  int major;
  int first_minor;
} KERNEL_TYPE;
struct block_device {
  struct gendisk *bd_disk;
} KERNEL_TYPE;
struct bvec_iter {
  __u64 bi_sector;
  unsigned int bi_size;
} KERNEL_TYPE;
struct bio {
  struct block_device *bi_bdev;
  unsigned int bi_opf;
  struct bvec_iter bi_iter;
} KERNEL_TYPE;
struct request_queue {
  struct gendisk *disk;
} KERNEL_TYPE;
struct request {
  struct request_queue *q;
  unsigned int cmd_flags;
  __u64 __sector;
} KERNEL_TYPE;

const volatile __u32 disk_major = 0;
const volatile __u32 disk_first_minor = 0;
const volatile __u32 block_shift = 12;

// One byte a block, eight to an element, so that a mark is a plain store. Read and cleared through mmap.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, 1);
} dirty SEC(".maps");

// One byte for 1 << GROUP_SHIFT elements of `dirty`, so that a look for marks need not go through all of it. Whoever
// marks stores there first and here second, whoever collects clears here first: what is missed now is found next
// time. (Two stores of one processor are seen in their order here: x86.)
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, 1);
} groups SEC(".maps");
#define GROUP_SHIFT 9

// Ranges too long to mark block by block: large discards.
struct long_range {
  __u64 offset;
  __u64 length;
};
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 256 * 1024);
} long_ranges SEC(".maps");

// Not zero: a change could not be noted. Only a synchronisation helps.
__u64 lost = 0;

// Who queued the last write. Written without a lock: for people.
__u32 writer_process = 0;
char writer_command[16] = {};

#define BLOCKS_MARKED_MAX 512

static __always_inline void mark_group(__u64 block) {
  __u64 group = block >> (3 + GROUP_SHIFT);
  __u32 element = group >> 3;
  volatile unsigned char *lanes = bpf_map_lookup_elem(&groups, &element);
  if (lanes)
    lanes[group & 7] = 1;
  else
    lost = 1;
}

static __always_inline void mark(__u64 sector, __u64 bytes) {
  if (bytes == 0) return;
  __u64 first = (sector << 9) >> block_shift;
  __u64 last = ((sector << 9) + bytes - 1) >> block_shift;
  if (last - first >= BLOCKS_MARKED_MAX) {
    struct long_range *range = bpf_ringbuf_reserve(&long_ranges, sizeof(*range), 0);
    if (!range) {
      lost = 1;
      return;
    }
    range->offset = sector << 9;
    range->length = bytes;
    bpf_ringbuf_submit(range, 0);
    return;
  }
  for (int i = 0; i < BLOCKS_MARKED_MAX; ++i) {
    if (first + i > last) break;
    __u32 element = (first + i) >> 3;
    volatile unsigned char *lanes = bpf_map_lookup_elem(&dirty, &element);
    if (!lanes) {
      lost = 1;  // Past the end: the disk has grown.
      return;
    }
    lanes[(first + i) & 7] = 1;
  }
  mark_group(first);
  mark_group(last);  // At most the next one: a group has more blocks than are marked at once.
}

// Every operation that changes data has an odd number: write 1, discard 3, secure erase 5, zone append 7, write zeroes 9.
static __always_inline int changes_data(unsigned int flags) { return flags & 1; }

static __always_inline int is_ours(struct gendisk *disk) {
  return disk->major == disk_major && disk->first_minor == disk_first_minor;
}

SEC("tp_btf/block_bio_queue")
int BPF_PROG(on_queue, struct bio *bio) {
  if (!changes_data(bio->bi_opf) || !is_ours(bio->bi_bdev->bd_disk)) return 0;
  writer_process = bpf_get_current_pid_tgid() >> 32;
  bpf_get_current_comm(writer_command, sizeof(writer_command));
  mark(bio->bi_iter.bi_sector, bio->bi_iter.bi_size);
  return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(on_complete, struct request *rq, unsigned char error, unsigned int bytes) {
  if (!changes_data(rq->cmd_flags)) return 0;
  struct gendisk *disk = rq->q->disk;
  if (!disk || !is_ours(disk)) return 0;
  mark(rq->__sector, bytes);
  return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
