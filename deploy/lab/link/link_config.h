// The configuration of a link and the words of its orders.
#ifndef HOMEWARD_DEPLOY_LAB_LINK_LINK_CONFIG_H_
#define HOMEWARD_DEPLOY_LAB_LINK_LINK_CONFIG_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/config/config.h"
#include "deploy/lab/link/shaper.h"
#include "homeward/lab/v1/link.pb.h"

namespace homeward {

inline constexpr uint32_t kMtuBytesDefault = 1500;
// What IPv6 asks of every link (RFC 8200, section 5), and the most that a TUN device takes.
inline constexpr uint32_t kMtuBytesMin = 1280;
inline constexpr uint32_t kMtuBytesMax = 65'521;
inline constexpr uint64_t kLinkMemoryBytesDefault = 64 << 20;
inline constexpr uint64_t kLinkMemoryBytesMin = 1 << 20;
inline constexpr uint64_t kLinkMemoryBytesMax = uint64_t{4} << 30;

// A ConfigCheck of a LinkConfig.
void CheckLinkConfig(const google::protobuf::Message& config, ConfigProblems* problems);

// Requires: the message passed CheckLinkConfig().
ShaperSettings SettingsOf(const lab::v1::LinkDirection& direction);

// "bandwidth=20mbit latency=40ms jitter=5ms loss=0.1% queue=100ms burst=64KiB reorder=no": changes
// what is named and keeps the rest. INVALID_ARGUMENT leaves all as it was.
absl::Status ChangeDirection(absl::string_view words, lab::v1::LinkDirection* direction);

enum class LinkOrder { kSet, kCut, kMend, kShow };
struct ParsedOrder {
  LinkOrder order = LinkOrder::kShow;
  bool a_to_b = true;
  bool b_to_a = true;
  std::string changes;  // of a kSet, for ChangeDirection()
};
// "set a-to-b|b-to-a|both CHANGES", "cut [DIRECTION]", "mend [DIRECTION]" and "show".
absl::StatusOr<ParsedOrder> ParseOrder(absl::string_view line);

// Packets that the shaper never saw, or saw depart.
struct LaneDrops {
  uint64_t by_memory = 0;    // there was no room to read them into
  uint64_t by_sender = 0;    // dropped by the device that sent them, before the link took them
  uint64_t by_receiver = 0;  // refused by the device that was to have them
};

// One line of JSON, as show answers.
std::string DirectionJson(const ShaperSettings& settings, const ShaperCounters& counters,
                          const LaneDrops& drops);
std::string ErrorJson(const absl::Status& error);

}  // namespace homeward

#endif  // HOMEWARD_DEPLOY_LAB_LINK_LINK_CONFIG_H_
