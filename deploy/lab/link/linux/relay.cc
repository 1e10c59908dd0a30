#include "deploy/lab/link/linux/relay.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

// With IFF_VNET_HDR, a segment of 64 KiB behind its header.
constexpr uint32_t kPacketBytesMax = 65'536 + 16;
// Read from one device before the other has its turn.
constexpr int kReadsMax = 64;
// Memory is for packets of this size at least; of smaller ones it holds fewer bytes.
constexpr uint64_t kBytesPerPacket = 1024;
constexpr int kForEver = -1;

}  // namespace

Relay::Lane::Lane(const lab::v1::LinkDirection& wanted, uint64_t seed, uint64_t memory_bytes)
    : direction(wanted),
      shaper(SettingsOf(wanted), {.seed = seed, .packets_max = memory_bytes / kBytesPerPacket}),
      packets(memory_bytes, kPacketBytesMax) {}

absl::StatusOr<std::unique_ptr<Relay>> Relay::Open(const lab::v1::LinkConfig& config,
                                                   const Clock& clock) {
  std::unique_ptr<Relay> relay(new Relay(clock));
  relay->offload_ = config.offload();
  const uint32_t mtu = config.mtu_bytes() == 0 ? kMtuBytesDefault : config.mtu_bytes();
  const uint64_t memory =
      config.memory_bytes_max() == 0 ? kLinkMemoryBytesDefault : config.memory_bytes_max();
  const uint64_t seed = config.seed() == 0 ? 1 : config.seed();
  relay->events_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  relay->timer_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!relay->events_.valid() || !relay->timer_.valid())
    return absl::ErrnoToStatus(errno, "make a timer");
  for (size_t i = 0; i < 2; ++i) {
    const lab::v1::LinkEnd& end = i == 0 ? config.a() : config.b();
    HW_ASSIGN_OR_RETURN(relay->devices_[i], TunDevice::Open({.namespace_path = end.namespace_path(),
                                                             .device = end.device(),
                                                             .mtu_bytes = mtu,
                                                             .offload = config.offload()}));
    HW_RETURN_IF_ERROR(relay->Watch(relay->devices_[i]->fd(), EPOLLIN));
  }
  for (size_t i = 0; i < 2; ++i) {
    // Each direction has a chance of its own.
    Lane& lane =
        relay->lanes_[i].emplace(i == 0 ? config.a_to_b() : config.b_to_a(), seed * 2 + i, memory);
    lane.from = &*relay->devices_[i];
    lane.to = &*relay->devices_[1 - i];
  }
  HW_RETURN_IF_ERROR(relay->AllowSegments());
  // The timer is set anew for each departure, so nobody needs to read it.
  HW_RETURN_IF_ERROR(relay->Watch(relay->timer_.get(), EPOLLIN | EPOLLET));
  if (!config.control_socket().empty()) {
    HW_ASSIGN_OR_RETURN(ControlSocket control,
                        ControlSocket::Open(config.control_socket(),
                                            [served = relay.get()](absl::string_view line) {
                                              return served->Answer(line);
                                            }));
    relay->control_.emplace(std::move(control));
    HW_RETURN_IF_ERROR(relay->Watch(relay->control_->fd(), EPOLLIN));
  }
  return relay;
}

absl::Status Relay::Watch(int fd, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "watch a descriptor");
}

absl::Status Relay::Run(int stop) {
  HW_RETURN_IF_ERROR(Watch(stop, EPOLLIN));
  for (;;) {
    epoll_event events[8];
    const int count = ::epoll_wait(events_.get(), events, 8, kForEver);
    if (count < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "wait for packets");
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == stop) return absl::OkStatus();
      for (std::optional<Lane>& lane : lanes_) {
        if (fd == lane->from->fd()) HW_RETURN_IF_ERROR(Receive(&*lane));
      }
      if (control_.has_value() && fd == control_->fd()) control_->Serve();
    }
    HW_RETURN_IF_ERROR(failed_);
    const absl::Duration now = clock_.Monotonic();
    for (std::optional<Lane>& lane : lanes_) HW_RETURN_IF_ERROR(Deliver(&*lane, now));
    HW_RETURN_IF_ERROR(SetTimer());
  }
}

absl::Status Relay::Receive(Lane* lane) {
  for (int i = 0; i < kReadsMax; ++i) {
    const MutableBytes room = lane->packets.Room();
    if (room.empty()) {
      // Left where it is, it would end in the device's own queue, uncounted here.
      uint8_t dropped[kPacketBytesMax];
      HW_ASSIGN_OR_RETURN(const uint32_t size, lane->from->Read(absl::MakeSpan(dropped)));
      if (size == 0) return absl::OkStatus();
      ++lane->drops.by_memory;
      continue;
    }
    HW_ASSIGN_OR_RETURN(const uint32_t size, lane->from->Read(room));
    if (size == 0) return absl::OkStatus();
    const absl::Duration now = clock_.Monotonic();
    const uint64_t packet = lane->packets.Add(size);
    const uint32_t line_bytes = lane->from->LineBytes(lane->packets.Packet(packet));
    if (!lane->shaper.Enqueue(packet, line_bytes, now)) lane->packets.Remove(packet);
    for (std::optional<Lane>& each : lanes_) HW_RETURN_IF_ERROR(Deliver(&*each, now));
  }
  return absl::OkStatus();
}

absl::Status Relay::Deliver(Lane* lane, absl::Duration now) {
  while (const std::optional<uint64_t> packet = lane->shaper.Depart(now)) {
    HW_ASSIGN_OR_RETURN(const bool taken, lane->to->Write(lane->packets.Packet(*packet)));
    if (!taken) ++lane->drops.by_receiver;
    lane->packets.Remove(*packet);
  }
  return absl::OkStatus();
}

absl::Status Relay::SetTimer() {
  absl::Duration next = absl::InfiniteDuration();
  for (const std::optional<Lane>& lane : lanes_)
    next = std::min(next, lane->shaper.NextDeparture().value_or(absl::InfiniteDuration()));
  if (next == timer_at_) return absl::OkStatus();
  timer_at_ = next;
  itimerspec at = {};
  // Rounded up: who is called too early has nothing to do. All zero, it would be off.
  if (next != absl::InfiniteDuration())
    at.it_value =
        absl::ToTimespec(std::max(absl::Ceil(next, absl::Nanoseconds(1)), absl::Nanoseconds(1)));
  if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr) == 0)
    return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "set the timer");
}

absl::Status Relay::AllowSegments() {
  if (!offload_) return absl::OkStatus();
  // A segment is lost whole, with all its packets, which is not what a share of packets means.
  bool allow = true;
  for (const std::optional<Lane>& lane : lanes_)
    allow = allow && lane->direction.loss_percent() == 0;
  for (std::optional<TunDevice>& device : devices_)
    HW_RETURN_IF_ERROR(device->AllowSegments(allow));
  return absl::OkStatus();
}

std::string Relay::Answer(absl::string_view line) {
  const absl::StatusOr<ParsedOrder> order = ParseOrder(line);
  if (!order.ok()) return ErrorJson(order.status());
  if (order->order == LinkOrder::kShow) return Show();
  const absl::Status obeyed = Obey(*order);
  return obeyed.ok() ? "{\"ok\":true}" : ErrorJson(obeyed);
}

absl::Status Relay::Obey(const ParsedOrder& order) {
  // All of it or nothing: both directions are computed before one is changed.
  std::array<lab::v1::LinkDirection, 2> wanted = {lanes_[0]->direction, lanes_[1]->direction};
  const std::array<bool, 2> meant = {order.a_to_b, order.b_to_a};
  for (size_t i = 0; i < 2; ++i) {
    if (!meant[i]) continue;
    if (order.order == LinkOrder::kSet) {
      HW_RETURN_IF_ERROR(ChangeDirection(order.changes, &wanted[i]));
    } else {
      wanted[i].set_cut(order.order == LinkOrder::kCut);
    }
  }
  const absl::Duration now = clock_.Monotonic();
  for (size_t i = 0; i < 2; ++i) {
    if (!meant[i]) continue;
    Lane& lane = *lanes_[i];
    lane.direction = wanted[i];
    lane.shaper.Change(SettingsOf(wanted[i]), now);
    if (wanted[i].cut()) lane.packets.Clear();
  }
  failed_ = AllowSegments();
  return failed_;
}

std::string Relay::Show() {
  const absl::Duration now = clock_.Monotonic();
  std::array<std::string, 2> shown;
  for (size_t i = 0; i < 2; ++i) {
    Lane& lane = *lanes_[i];
    LaneDrops drops = lane.drops;
    drops.by_sender = lane.from->DroppedPackets();
    shown[i] = DirectionJson(lane.shaper.settings(), lane.shaper.Counters(now), drops);
  }
  return absl::StrCat("{\"ok\":true,\"a_to_b\":", shown[0], ",\"b_to_a\":", shown[1], "}");
}

}  // namespace homeward
