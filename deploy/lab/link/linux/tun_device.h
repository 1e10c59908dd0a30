// TunDevice: a network device whose packets this process sends and receives.
#ifndef HOMEWARD_DEPLOY_LAB_LINK_LINUX_TUN_DEVICE_H_
#define HOMEWARD_DEPLOY_LAB_LINK_LINUX_TUN_DEVICE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/os/posix/unique_fd.h"

namespace homeward {

struct TunOptions {
  std::string namespace_path;
  std::string device;
  uint32_t mtu_bytes = 0;
  bool offload = false;
};

// What is read and written is an IPv4 or IPv6 packet, with offload behind a virtio_net_hdr. The
// device goes with this object, also when the process is killed. One thread.
class TunDevice {
 public:
  // The device is there and up, without addresses. The calling thread is in the namespace
  // meanwhile. ALREADY_EXISTS: the namespace has a device of that name.
  static absl::StatusOr<TunDevice> Open(const TunOptions& options);

  // The packet's size. 0: there is none now. Any other failure ends the device.
  absl::StatusOr<uint32_t> Read(MutableBytes room);
  // False when the device refuses the packet, as one that is down does.
  absl::StatusOr<bool> Write(ConstBytes packet);
  // Whether the sender hands over segments that are larger than packets. Requires: offload.
  absl::Status AllowSegments(bool allow);
  // What the kernel dropped before it was read, since the device is there.
  uint64_t DroppedPackets() const;
  // What a packet that was read takes of a line: with offload the packets that it stands for.
  uint32_t LineBytes(ConstBytes packet) const;

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }

 private:
  TunDevice() = default;
  std::string name_;
  bool offload_ = false;
  UniqueFd fd_;
  UniqueFd statistics_;  // the namespace's /proc/net/dev
};

}  // namespace homeward

#endif  // HOMEWARD_DEPLOY_LAB_LINK_LINUX_TUN_DEVICE_H_
