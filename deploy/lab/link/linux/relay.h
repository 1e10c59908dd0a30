// Relay: carries packets between the two devices of a link, as its shapers say.
#ifndef HOMEWARD_DEPLOY_LAB_LINK_LINUX_RELAY_H_
#define HOMEWARD_DEPLOY_LAB_LINK_LINUX_RELAY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock/clock.h"
#include "common/os/posix/unique_fd.h"
#include "deploy/lab/link/link_config.h"
#include "deploy/lab/link/linux/control_socket.h"
#include "deploy/lab/link/linux/tun_device.h"
#include "deploy/lab/link/packet_ring.h"
#include "deploy/lab/link/shaper.h"
#include "homeward/lab/v1/link.pb.h"

namespace homeward {

// One thread. Devices and control socket are there from Open() on, and go with this object.
class Relay {
 public:
  // Requires: `config` passed CheckLinkConfig().
  static absl::StatusOr<std::unique_ptr<Relay>> Open(const lab::v1::LinkConfig& config,
                                                     const Clock& clock);
  // Until `stop` is readable, or a device is gone.
  absl::Status Run(int stop);

 private:
  // One direction.
  struct Lane {
    Lane(const lab::v1::LinkDirection& direction, uint64_t seed, uint64_t memory_bytes);
    lab::v1::LinkDirection direction;
    Shaper shaper;
    PacketRing packets;
    LaneDrops drops;
    TunDevice* from = nullptr;
    TunDevice* to = nullptr;
  };
  explicit Relay(const Clock& clock) : clock_(clock) {}

  absl::Status Watch(int fd, uint32_t events);
  // Takes what `lane` has to read, so much at a time that the other one is not kept waiting.
  absl::Status Receive(Lane* lane);
  absl::Status Deliver(Lane* lane, absl::Duration now);
  absl::Status SetTimer();
  absl::Status AllowSegments();
  std::string Answer(absl::string_view line);
  absl::Status Obey(const ParsedOrder& order);
  std::string Show();

  const Clock& clock_;
  std::array<std::optional<TunDevice>, 2> devices_;
  std::array<std::optional<Lane>, 2> lanes_;  // lane i reads from device i
  bool offload_ = false;
  std::optional<ControlSocket> control_;
  UniqueFd events_, timer_;
  absl::Duration timer_at_ = absl::InfiniteDuration();
  absl::Status failed_;  // of an order that could not be carried out
};

}  // namespace homeward

#endif  // HOMEWARD_DEPLOY_LAB_LINK_LINUX_RELAY_H_
