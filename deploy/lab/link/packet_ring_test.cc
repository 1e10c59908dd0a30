#include "deploy/lab/link/packet_ring.h"

#include <deque>
#include <random>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace homeward {
namespace {

constexpr uint32_t kPacketBytesMax = 100;

uint64_t Add(PacketRing* ring, absl::string_view content) {
  const MutableBytes room = ring->Room();
  EXPECT_EQ(room.size(), kPacketBytesMax);
  std::copy(content.begin(), content.end(), room.begin());
  return ring->Add(static_cast<uint32_t>(content.size()));
}

TEST(PacketRingTest, KeepsWhatIsAddedWhateverIsRemovedAroundIt) {
  // Removed in any order, against a copy that is kept elsewhere.
  PacketRing ring(2000, kPacketBytesMax);
  std::mt19937_64 random(42);
  std::deque<std::pair<uint64_t, std::string>> kept;
  int full = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (random() % 2 == 0) {
      if (ring.Room().empty()) {
        ++full;
      } else {
        const std::string content(1 + random() % kPacketBytesMax, static_cast<char>(random()));
        kept.emplace_back(Add(&ring, content), content);
        continue;
      }
    }
    if (kept.empty()) continue;
    const auto which = kept.begin() + static_cast<int64_t>(random() % kept.size());
    ASSERT_EQ(AsText(ring.Packet(which->first)), which->second) << "step " << i;
    ring.Remove(which->first);
    kept.erase(which);
  }
  EXPECT_GT(full, 0);
}

TEST(PacketRingTest, HasRoomAgainWhenTheOldestIsRemoved) {
  PacketRing ring(1000, kPacketBytesMax);
  std::deque<uint64_t> packets;
  while (!ring.Room().empty()) packets.push_back(Add(&ring, std::string(kPacketBytesMax, 'x')));
  EXPECT_EQ(packets.size(), 7u);  // of 128 bytes each, with what is in front of them
  ring.Remove(packets[1]);
  EXPECT_TRUE(ring.Room().empty());
  ring.Remove(packets[0]);
  EXPECT_FALSE(ring.Room().empty());
}

TEST(PacketRingTest, WhatIsRemovedAsSoonAsItCameTakesNoRoom) {
  PacketRing ring(1000, kPacketBytesMax);
  const uint64_t first = Add(&ring, "first");
  for (int i = 0; i < 1000; ++i) ring.Remove(Add(&ring, "dropped"));
  EXPECT_EQ(AsText(ring.Packet(first)), "first");
  EXPECT_EQ(AsText(ring.Packet(Add(&ring, "second"))), "second");
}

TEST(PacketRingTest, ClearedItIsAsNew) {
  PacketRing ring(1000, kPacketBytesMax);
  while (!ring.Room().empty()) Add(&ring, "packet");
  ring.Clear();
  EXPECT_EQ(AsText(ring.Packet(Add(&ring, "another"))), "another");
}

}  // namespace
}  // namespace homeward
