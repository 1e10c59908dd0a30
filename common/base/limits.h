// The numbers of the domain: limits and defaults that operators know from Azure Site Recovery's
// classic VMware topology, whose public documentation is the source where nothing else is said.
// Each stands here once; code, messages and the catalogue of problems take it from here.
#ifndef HOMEWARD_COMMON_BASE_LIMITS_H_
#define HOMEWARD_COMMON_BASE_LIMITS_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "common/base/bytes.h"

namespace homeward {

// Recovery points: the policy "failback", as it is before somebody changes it.
inline constexpr absl::Duration kPointIntervalDefault = absl::Minutes(5);
inline constexpr absl::Duration kAppPointIntervalDefault = absl::Minutes(60);
inline constexpr absl::Duration kRetentionAgeDefault = absl::Hours(24);
// The newest point is older than this: an alert, and nothing is controlled by it.
inline constexpr absl::Duration kRpoThresholdDefault = absl::Minutes(15);
// The shortest interval of a policy, and of what an operator says for one machine alone, as for a
// test. The second number is ours, as are the next two.
inline constexpr absl::Duration kPointIntervalMin = absl::Seconds(5);
inline constexpr absl::Duration kOwnPointIntervalMin = absl::Seconds(1);
inline constexpr absl::Duration kPolicyDurationMax = absl::Hours(24 * 366);
// Less would keep no point but the newest.
inline constexpr uint64_t kRetentionBytesMin = kMiB;

// A common point of a replication group: members come to where little is left to copy, stand still,
// and wait for each other, for so long at the most. Ours.
inline constexpr absl::Duration kCommonPointPrepareMax = absl::Seconds(30);
inline constexpr absl::Duration kCommonAppPointPrepareMax = absl::Minutes(2);  // scripts run first
inline constexpr absl::Duration kCommonPointHoldMax = absl::Seconds(15);  // all of them together
inline constexpr absl::Duration kGroupHoldMax = absl::Seconds(2);  // one, once it stands still

// What a machine may take to register after it was booted.
inline constexpr absl::Duration kRegistrationWindowDefault = absl::Minutes(15);
// A component that was not heard for longer counts as gone.
inline constexpr absl::Duration kHeartbeatTimeoutDefault = absl::Minutes(15);

// All disks of one master target: its own, and those that were attached to it.
inline constexpr int kMasterTargetDisksMax = 60;
// The largest VMDK on VMFS (VMware's configuration maximums).
inline constexpr uint64_t kVmdkTebibytesMax = 62;
inline constexpr uint64_t kVmdkBytesMax = kVmdkTebibytesMax * kTiB;
// The largest page blob (Azure's scalability targets for Blob storage), and the largest disk in
// one: whole MiB, with the footer of a fixed VHD behind it.
inline constexpr uint64_t kPageBlobTebibytesMax = 8;
inline constexpr uint64_t kPageBlobDiskBytesMax = kPageBlobTebibytesMax * kTiB - kMiB;

// Two limits of one figure of a process server's health.
struct HealthLimits {
  double warning;
  double critical;
};
inline constexpr HealthLimits kProcessorPercent = {80, 95};
inline constexpr HealthLimits kMemoryPercent = {80, 95};
inline constexpr HealthLimits kCacheFreePercent = {30, 25};  // less is worse
inline constexpr HealthLimits kDrainMinutes = {30, 45};

// The part of a retention drive that stays free: what other machines need of it is not taken by
// one machine's points. The number is ours.
inline constexpr uint64_t kRetentionFreePercentMin = 5;
// A large volume that is nearly full still has room for many points. Ours too.
inline constexpr uint64_t kRetentionFreeEnoughBytes = kGiB;

// Below this, points that can be dropped are dropped.
constexpr uint64_t RetentionReserveBytes(uint64_t total_bytes) {
  return total_bytes / (100 / kRetentionFreePercentMin);
}
// Whether a machine may be placed where a retention drive has so much room.
constexpr bool HasRoomForPoints(uint64_t free_bytes, uint64_t total_bytes) {
  return free_bytes >= std::min(RetentionReserveBytes(total_bytes), kRetentionFreeEnoughBytes);
}

}  // namespace homeward

#endif  // HOMEWARD_COMMON_BASE_LIMITS_H_
