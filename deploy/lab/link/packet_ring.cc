#include "deploy/lab/link/packet_ring.h"

#include <cstring>

#include "common/base/check.h"

namespace homeward {

PacketRing::PacketRing(uint64_t bytes, uint32_t packet_bytes_max)
    : bytes_(bytes / kAlignment * kAlignment),
      packet_bytes_max_(packet_bytes_max),
      memory_(std::make_unique_for_overwrite<uint8_t[]>(bytes_)) {
  HW_CHECK(packet_bytes_max > 0 && uint64_t{packet_bytes_max} * 8 <= bytes);
}

PacketRing::Head PacketRing::ReadHead(uint64_t position) const {
  Head head;
  std::memcpy(&head, memory_.get() + position % bytes_, sizeof head);
  return head;
}

void PacketRing::WriteHead(uint64_t position, const Head& head) {
  static_assert(sizeof head <= kHeadBytes);
  std::memcpy(memory_.get() + position % bytes_, &head, sizeof head);
}

MutableBytes PacketRing::Room() {
  const uint64_t needed = Span(packet_bytes_max_);
  const uint64_t to_end = bytes_ - end_ % bytes_;
  const uint64_t skipped = to_end < needed ? to_end : 0;
  if (end_ - first_ + skipped + needed > bytes_) return {};
  if (skipped > 0) {
    // No packet lies across the end: what is left there is one that nobody has.
    const bool was_empty = first_ == end_;
    WriteHead(end_, {0, static_cast<uint32_t>(skipped), 1});
    end_ += skipped;
    if (was_empty) first_ = end_;
  }
  return {memory_.get() + end_ % bytes_ + kHeadBytes, packet_bytes_max_};
}

uint64_t PacketRing::Add(uint32_t size_bytes) {
  HW_CHECK(size_bytes > 0 && size_bytes <= packet_bytes_max_);
  const uint64_t packet = end_;
  const uint64_t span = Span(size_bytes);
  WriteHead(packet, {size_bytes, static_cast<uint32_t>(span), 0});
  end_ += span;
  return packet;
}

ConstBytes PacketRing::Packet(uint64_t packet) const {
  HW_CHECK(packet >= first_ && packet < end_);
  return {memory_.get() + packet % bytes_ + kHeadBytes, ReadHead(packet).size_bytes};
}

void PacketRing::Remove(uint64_t packet) {
  HW_CHECK(packet >= first_ && packet < end_);
  Head head = ReadHead(packet);
  HW_CHECK(head.is_removed == 0);
  if (packet != first_ && packet + head.span_bytes == end_) {
    end_ = packet;  // the newest, as one that is dropped when it comes
    return;
  }
  head.is_removed = 1;
  WriteHead(packet, head);
  while (first_ != end_) {
    const Head first = ReadHead(first_);
    if (first.is_removed == 0) return;
    first_ += first.span_bytes;
  }
  Clear();  // the memory that was just used is in the processor's cache
}

void PacketRing::Clear() { first_ = end_ = 0; }

}  // namespace homeward
