#include "deploy/lab/link/linux/tun_device.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr char kCloneDevice[] = "/dev/net/tun";
// As the kernel asks for at least: 500 of 1500 bytes are soon full at the speed of this machine.
constexpr int kSendQueuePackets = 4096;
constexpr uint32_t kChecksums = TUN_F_CSUM;
constexpr uint32_t kSegments = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
// Of a TCP header: where the upper half of a byte is its length in words of 4 bytes.
constexpr uint32_t kTcpLengthAt = 12;

// A virtio_net_hdr of the kernel's linux/virtio_net.h, which C++ cannot include: there is a member
// named "class" in it.
struct OffloadHeader {
  uint8_t flags;
  uint8_t segment_kind;  // 0: a packet
  uint16_t header_bytes;
  uint16_t segment_bytes;
  uint16_t checksum_from;  // of TCP, where its header begins
  uint16_t checksum_at;
};
static_assert(sizeof(OffloadHeader) == 10);

absl::Status SystemError(int error, const std::string& what, absl::string_view fix) {
  const absl::Status status = absl::ErrnoToStatus(error, what);
  return absl::Status(status.code(), absl::StrCat(status.message(), fix));
}

// The calling thread is in another network namespace until this goes.
class InNamespace {
 public:
  static absl::StatusOr<InNamespace> Enter(const std::string& path) {
    UniqueFd own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!own.valid()) return absl::ErrnoToStatus(errno, "open /proc/thread-self/ns/net");
    const UniqueFd other(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!other.valid())
      return SystemError(errno, absl::StrCat("open network namespace ", path),
                         "; make it first, as with ip netns add NAME");
    if (::setns(other.get(), CLONE_NEWNET) != 0)
      return SystemError(errno, absl::StrCat("enter network namespace ", path),
                         "; it must be one, and this needs root");
    return InNamespace(std::move(own));
  }
  InNamespace(InNamespace&&) = default;
  ~InNamespace() {
    if (own_.valid()) (void)::setns(own_.get(), CLONE_NEWNET);
  }

 private:
  explicit InNamespace(UniqueFd own) : own_(std::move(own)) {}
  UniqueFd own_;
};

ifreq Request(const std::string& device) {
  ifreq request = {};
  std::memcpy(request.ifr_name, device.data(), device.size());
  return request;
}

// MTU, queue and up. In the device's namespace.
absl::Status SetUp(const TunOptions& options) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return absl::ErrnoToStatus(errno, "open a socket");
  ifreq request = Request(options.device);
  request.ifr_mtu = static_cast<int>(options.mtu_bytes);
  if (::ioctl(socket.get(), SIOCSIFMTU, &request) != 0)
    return absl::ErrnoToStatus(
        errno, absl::StrCat("set the MTU of ", options.device, " to ", options.mtu_bytes));
  request = Request(options.device);
  request.ifr_qlen = kSendQueuePackets;
  if (::ioctl(socket.get(), SIOCSIFTXQLEN, &request) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("set the queue of ", options.device));
  request = Request(options.device);
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("read the flags of ", options.device));
  request.ifr_flags = static_cast<int16_t>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("bring up ", options.device));
  return absl::OkStatus();
}

absl::Status Attach(int fd, const TunOptions& options) {
  ifreq request = Request(options.device);
  request.ifr_flags = static_cast<int16_t>(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL |
                                           (options.offload ? IFF_VNET_HDR : 0));
  if (::ioctl(fd, TUNSETIFF, &request) == 0) return absl::OkStatus();
  const std::string what =
      absl::StrCat("make device ", options.device, " in ", options.namespace_path);
  if (errno == EBUSY || errno == EEXIST)
    return absl::AlreadyExistsError(absl::StrCat(
        what,
        ": there is a device of that name; end the link that has it, or choose another name"));
  return SystemError(errno, what, "; this needs root");
}

}  // namespace

absl::StatusOr<TunDevice> TunDevice::Open(const TunOptions& options) {
  HW_ASSIGN_OR_RETURN(const InNamespace inside, InNamespace::Enter(options.namespace_path));
  TunDevice device;
  device.name_ = options.device;
  device.offload_ = options.offload;
  device.fd_ = UniqueFd(::open(kCloneDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!device.fd_.valid())
    return SystemError(errno, absl::StrCat("open ", kCloneDevice),
                       "; the kernel must have the tun driver (modprobe tun)");
  HW_RETURN_IF_ERROR(Attach(device.fd_.get(), options));
  if (options.offload) HW_RETURN_IF_ERROR(device.AllowSegments(true));
  HW_RETURN_IF_ERROR(SetUp(options));
  device.statistics_ = UniqueFd(::open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC));
  if (!device.statistics_.valid())
    return absl::ErrnoToStatus(errno, "open /proc/thread-self/net/dev");
  return device;
}

absl::StatusOr<uint32_t> TunDevice::Read(MutableBytes room) {
  for (;;) {
    const ssize_t got = ::read(fd_.get(), room.data(), room.size());
    if (got >= 0) return static_cast<uint32_t>(got);
    if (errno == EAGAIN) return 0;
    if (errno != EINTR)
      return SystemError(errno, absl::StrCat("read from device ", name_),
                         "; was it deleted? Start the link anew");
  }
}

absl::StatusOr<bool> TunDevice::Write(ConstBytes packet) {
  for (;;) {
    if (::write(fd_.get(), packet.data(), packet.size()) >= 0) return true;
    if (errno == EBADFD)
      return SystemError(errno, absl::StrCat("write to device ", name_),
                         "; was it deleted? Start the link anew");
    if (errno != EINTR) return false;
  }
}

absl::Status TunDevice::AllowSegments(bool allow) {
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, allow ? kSegments : kChecksums) == 0)
    return absl::OkStatus();
  return SystemError(errno, absl::StrCat("set the offload of device ", name_),
                     "; run the link without --offload");
}

uint64_t TunDevice::DroppedPackets() const {
  // Two lines of headings, then "NAME: " with eight counters received and eight sent; the fourth
  // of each is what was dropped (proc(5)).
  constexpr size_t kSentDropped = 8 + 3;
  std::string text(64 * kKiB, '\0');
  const ssize_t got = ::pread(statistics_.get(), text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> named =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(named.first) != name_) continue;
    const std::vector<absl::string_view> counters =
        absl::StrSplit(named.second, ' ', absl::SkipEmpty());
    uint64_t dropped = 0;
    if (counters.size() > kSentDropped && absl::SimpleAtoi(counters[kSentDropped], &dropped))
      return dropped;
  }
  return 0;
}

uint32_t TunDevice::LineBytes(ConstBytes packet) const {
  const auto size = static_cast<uint32_t>(packet.size());
  if (!offload_) return size;
  OffloadHeader header;
  if (size <= sizeof header) return size;
  std::memcpy(&header, packet.data(), sizeof header);
  const ConstBytes ip = packet.subspan(sizeof header);
  const auto ip_bytes = static_cast<uint32_t>(ip.size());
  if (header.segment_kind == 0 || header.segment_bytes == 0) return ip_bytes;
  // Each packet that it stands for has the headers, which end with TCP's.
  const uint32_t tcp_at = header.checksum_from;
  if (tcp_at + kTcpLengthAt >= ip_bytes) return ip_bytes;
  const uint32_t headers_bytes = tcp_at + (ip[tcp_at + kTcpLengthAt] >> 4) * 4;
  if (headers_bytes >= ip_bytes) return ip_bytes;
  const uint32_t packets =
      (ip_bytes - headers_bytes + header.segment_bytes - 1) / header.segment_bytes;
  return ip_bytes + (packets - 1) * headers_bytes;
}

}  // namespace homeward
