// PacketRing: the packets that one direction of a link holds, in one piece of memory.
#ifndef HOMEWARD_DEPLOY_LAB_LINK_PACKET_RING_H_
#define HOMEWARD_DEPLOY_LAB_LINK_PACKET_RING_H_

#include <cstdint>
#include <memory>

#include "common/base/bytes.h"

namespace homeward {

// One thread. After construction nothing is allocated. Packets may be removed in any order; memory
// is used again once all older packets are removed too, that of the newest one at once.
class PacketRing {
 public:
  // Requires: 8 * `packet_bytes_max` <= `bytes`.
  PacketRing(uint64_t bytes, uint32_t packet_bytes_max);

  // Where the next packet can be put: `packet_bytes_max` bytes. Empty when the ring is full.
  MutableBytes Room();
  // Keeps the first `size_bytes` of the last Room(), and returns the packet's number. Requires:
  // 0 < size_bytes <= packet_bytes_max.
  uint64_t Add(uint32_t size_bytes);
  // Requires of both: `packet` was added and not removed.
  ConstBytes Packet(uint64_t packet) const;
  void Remove(uint64_t packet);
  void Clear();

 private:
  // In front of each packet.
  struct Head {
    uint32_t size_bytes;
    uint32_t span_bytes;  // to the next head
    uint32_t is_removed;
  };
  static constexpr uint64_t kAlignment = 16;
  static constexpr uint64_t kHeadBytes = 16;
  static constexpr uint64_t Span(uint64_t size_bytes) {
    return kHeadBytes + (size_bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  Head ReadHead(uint64_t position) const;
  void WriteHead(uint64_t position, const Head& head);

  const uint64_t bytes_;
  const uint32_t packet_bytes_max_;
  const std::unique_ptr<uint8_t[]> memory_;
  // Positions only grow; memory is what they are modulo `bytes_`.
  uint64_t first_ = 0;
  uint64_t end_ = 0;
};

}  // namespace homeward

#endif  // HOMEWARD_DEPLOY_LAB_LINK_PACKET_RING_H_
