#include "deploy/lab/link/link_config.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/bytes.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

// IFNAMSIZ, without its last byte.
constexpr size_t kDeviceNameBytesMax = 15;
constexpr uint64_t kBandwidthMin = 1'000;
constexpr uint64_t kBandwidthMax = 1'000'000'000'000;
constexpr uint64_t kQueueBytesMax = kGiB;
constexpr absl::Duration kDelayMax = absl::Minutes(10);

using lab::v1::LinkDirection;

struct Unit {
  const char* name;
  double factor;
};
constexpr Unit kBandwidthUnits[] = {{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}};
constexpr Unit kByteUnits[] = {
    {"KiB", double{kKiB}}, {"MiB", double{kMiB}}, {"GiB", double{kGiB}}, {"B", 1}};

template <size_t kCount>
absl::StatusOr<uint64_t> ParseAmount(absl::string_view text, const Unit (&units)[kCount],
                                     absl::string_view example) {
  absl::string_view digits = text;
  for (const Unit& unit : units) {
    double amount = 0;
    if (!absl::ConsumeSuffix(&digits, unit.name)) continue;
    if (!absl::SimpleAtod(digits, &amount) || !(amount >= 0) || amount * unit.factor > 1e15) break;
    return static_cast<uint64_t>(std::llround(amount * unit.factor));
  }
  if (text == "0") return 0;
  return absl::InvalidArgumentError(absl::StrCat("\"", absl::Utf8SafeCHexEscape(text),
                                                 "\" is not an amount; write it as ", example));
}

absl::StatusOr<absl::Duration> ParseDelay(absl::string_view text) {
  absl::Duration delay;
  if (absl::ParseDuration(text, &delay)) return delay;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::Utf8SafeCHexEscape(text), "\" is not a time; write it as 40ms"));
}

absl::StatusOr<double> ParsePercent(absl::string_view text) {
  absl::string_view digits = text;
  double percent = 0;
  absl::ConsumeSuffix(&digits, "%");
  if (absl::SimpleAtod(digits, &percent)) return percent;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::Utf8SafeCHexEscape(text), "\" is not a share; write it as 0.1%"));
}

absl::StatusOr<bool> ParseAnswer(absl::string_view text) {
  if (text == "yes" || text == "no") return text == "yes";
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::Utf8SafeCHexEscape(text), "\" is neither yes nor no"));
}

absl::Status ChangeQueue(absl::string_view value, LinkDirection* direction) {
  if (absl::EndsWith(value, "s")) {
    HW_ASSIGN_OR_RETURN(const absl::Duration time, ParseDelay(value));
    *direction->mutable_queue_time_max() = ToProto(time);
    return absl::OkStatus();
  }
  HW_ASSIGN_OR_RETURN(const uint64_t bytes, ParseAmount(value, kByteUnits, "100ms or 64KiB"));
  direction->set_queue_bytes_max(bytes);
  return absl::OkStatus();
}

absl::Status ChangeKey(absl::string_view key, absl::string_view value, LinkDirection* direction) {
  if (key == "bandwidth") {
    HW_ASSIGN_OR_RETURN(const uint64_t bits, ParseAmount(value, kBandwidthUnits, "20mbit"));
    direction->set_bandwidth_bits_per_second(bits);
  } else if (key == "latency") {
    HW_ASSIGN_OR_RETURN(const absl::Duration delay, ParseDelay(value));
    *direction->mutable_latency() = ToProto(delay);
  } else if (key == "jitter") {
    HW_ASSIGN_OR_RETURN(const absl::Duration delay, ParseDelay(value));
    *direction->mutable_jitter() = ToProto(delay);
  } else if (key == "loss") {
    HW_ASSIGN_OR_RETURN(const double percent, ParsePercent(value));
    direction->set_loss_percent(percent);
  } else if (key == "queue") {
    return ChangeQueue(value, direction);
  } else if (key == "burst") {
    HW_ASSIGN_OR_RETURN(const uint64_t bytes, ParseAmount(value, kByteUnits, "64KiB"));
    direction->set_burst_bytes(bytes);
  } else if (key == "reorder") {
    HW_ASSIGN_OR_RETURN(const bool reorder, ParseAnswer(value));
    direction->set_reorder(reorder);
  } else {
    return absl::InvalidArgumentError(
        "nobody knows it; there are bandwidth, latency, jitter, loss, queue, burst and reorder");
  }
  return absl::OkStatus();
}

// What is wrong with a direction, as key and text.
std::vector<std::pair<std::string, std::string>> WrongInDirection(const LinkDirection& direction) {
  std::vector<std::pair<std::string, std::string>> wrong;
  const auto check_delay = [&wrong](const char* key, const google::protobuf::Duration& value) {
    if (FromProto(value) < absl::ZeroDuration() || FromProto(value) > kDelayMax)
      wrong.emplace_back(key,
                         absl::StrCat("must lie between 0 and ", absl::FormatDuration(kDelayMax)));
  };
  const uint64_t bandwidth = direction.bandwidth_bits_per_second();
  if (bandwidth != 0 && (bandwidth < kBandwidthMin || bandwidth > kBandwidthMax))
    wrong.emplace_back("bandwidth_bits_per_second",
                       absl::StrCat("must be 0, for no limit, or lie between ", kBandwidthMin,
                                    " and ", kBandwidthMax));
  check_delay("latency", direction.latency());
  check_delay("jitter", direction.jitter());
  check_delay("queue_time_max", direction.queue_time_max());
  if (!(direction.loss_percent() >= 0 && direction.loss_percent() <= 100))
    wrong.emplace_back("loss_percent", "must lie between 0 and 100");
  if (direction.queue_bytes_max() > kQueueBytesMax)
    wrong.emplace_back("queue_bytes_max", absl::StrCat("must be at most ", kQueueBytesMax));
  if (direction.burst_bytes() > kQueueBytesMax)
    wrong.emplace_back("burst_bytes", absl::StrCat("must be at most ", kQueueBytesMax));
  return wrong;
}

void CheckEnd(const std::string& key, const lab::v1::LinkEnd& end, ConfigProblems* problems) {
  RequireAbsolutePath(absl::StrCat(key, ".namespace_path"), end.namespace_path(), problems);
  const std::string& device = end.device();
  if (device.empty() || device.size() > kDeviceNameBytesMax || device == "." || device == ".." ||
      device.find_first_of(" /:%\t\n") != device.npos)
    problems->Add(absl::StrCat(key, ".device"),
                  absl::StrCat("must be the name of a network device: 1 to ", kDeviceNameBytesMax,
                               " bytes without spaces, '/', ':' and '%'"));
}

absl::Status ParseDirection(absl::string_view word, ParsedOrder* order) {
  order->a_to_b = word == "a-to-b" || word == "both";
  order->b_to_a = word == "b-to-a" || word == "both";
  if (order->a_to_b || order->b_to_a) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::Utf8SafeCHexEscape(word),
                   "\" is no direction; there are a-to-b, b-to-a and both"));
}

}  // namespace

void CheckLinkConfig(const google::protobuf::Message& message, ConfigProblems* problems) {
  const auto& config = dynamic_cast<const lab::v1::LinkConfig&>(message);
  CheckEnd("a", config.a(), problems);
  CheckEnd("b", config.b(), problems);
  if (config.a().namespace_path() == config.b().namespace_path() &&
      config.a().device() == config.b().device())
    problems->Add("b.device", "is the device of a too; give it another name or namespace");
  for (const auto& [key, direction] :
       {std::pair("a_to_b.", &config.a_to_b()), std::pair("b_to_a.", &config.b_to_a())}) {
    for (const auto& [field, text] : WrongInDirection(*direction)) problems->Add(key + field, text);
  }
  if (config.mtu_bytes() != 0 &&
      (config.mtu_bytes() < kMtuBytesMin || config.mtu_bytes() > kMtuBytesMax))
    problems->Add("mtu_bytes",
                  absl::StrCat("must lie between ", kMtuBytesMin, " and ", kMtuBytesMax));
  if (!config.control_socket().empty())
    RequireAbsolutePath("control_socket", config.control_socket(), problems);
  if (config.memory_bytes_max() != 0 && (config.memory_bytes_max() < kLinkMemoryBytesMin ||
                                         config.memory_bytes_max() > kLinkMemoryBytesMax))
    problems->Add("memory_bytes_max", absl::StrCat("must lie between ", kLinkMemoryBytesMin,
                                                   " and ", kLinkMemoryBytesMax));
}

ShaperSettings SettingsOf(const LinkDirection& direction) {
  ShaperSettings settings;
  settings.bandwidth_bits_per_second = direction.bandwidth_bits_per_second();
  settings.latency = FromProto(direction.latency());
  settings.jitter = FromProto(direction.jitter());
  settings.loss_percent = direction.loss_percent();
  settings.reorder = direction.reorder();
  if (direction.has_queue_bytes_max()) settings.queue_bytes_max = direction.queue_bytes_max();
  settings.queue_time_max = DurationOr(direction.queue_time_max(), direction.has_queue_time_max(),
                                       settings.queue_time_max);
  settings.burst_bytes = direction.burst_bytes();
  settings.cut = direction.cut();
  return settings;
}

absl::Status ChangeDirection(absl::string_view words, LinkDirection* direction) {
  LinkDirection changed = *direction;
  bool any = false;
  for (const absl::string_view word :
       absl::StrSplit(words, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(word, absl::MaxSplits('=', 1));
    HW_RETURN_IF_ERROR(Annotate(ChangeKey(pair.first, pair.second, &changed),
                                absl::Utf8SafeCHexEscape(pair.first)));
    any = true;
  }
  if (!any) return absl::InvalidArgumentError("nothing to change; write for example latency=40ms");
  if (const auto wrong = WrongInDirection(changed); !wrong.empty())
    return absl::InvalidArgumentError(absl::StrCat(wrong[0].first, ": ", wrong[0].second));
  *direction = changed;
  return absl::OkStatus();
}

absl::StatusOr<ParsedOrder> ParseOrder(absl::string_view line) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  const absl::string_view verb = words.empty() ? "" : words[0];
  ParsedOrder order;
  if (verb == "show" && words.size() == 1) return order;
  if ((verb == "cut" || verb == "mend") && words.size() <= 2) {
    order.order = verb == "cut" ? LinkOrder::kCut : LinkOrder::kMend;
    if (words.size() == 2) HW_RETURN_IF_ERROR(ParseDirection(words[1], &order));
    return order;
  }
  if (verb == "set" && words.size() >= 2) {
    order.order = LinkOrder::kSet;
    HW_RETURN_IF_ERROR(ParseDirection(words[1], &order));
    const char* const rest = words[1].data() + words[1].size();
    order.changes.assign(rest, line.data() + line.size());
    return order;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::Utf8SafeCHexEscape(line.substr(0, 80)),
                   "\" is no order; there are: set DIRECTION KEY=VALUE..., cut [DIRECTION], mend "
                   "[DIRECTION], show"));
}

std::string DirectionJson(const ShaperSettings& settings, const ShaperCounters& counters,
                          const LaneDrops& drops) {
  const absl::Duration late_mean = counters.packets == 0
                                       ? absl::ZeroDuration()
                                       : counters.late_sum / static_cast<double>(counters.packets);
  return absl::StrCat(
      "{\"up\":", settings.cut ? "false" : "true",
      ",\"bandwidth_bits_per_second\":", settings.bandwidth_bits_per_second,
      ",\"latency_ms\":", absl::ToDoubleMilliseconds(settings.latency),
      ",\"jitter_ms\":", absl::ToDoubleMilliseconds(settings.jitter),
      ",\"loss_percent\":", settings.loss_percent,
      ",\"queue_bytes_max\":", settings.QueueBytesMax(), ",\"packets\":", counters.packets,
      ",\"bytes\":", counters.bytes, ",\"dropped_by_loss\":", counters.dropped_by_loss,
      ",\"dropped_by_queue\":", counters.dropped_by_queue,
      ",\"dropped_while_cut\":", counters.dropped_while_cut,
      ",\"dropped_by_memory\":", counters.dropped_by_memory + drops.by_memory,
      ",\"dropped_by_sender\":", drops.by_sender, ",\"dropped_by_receiver\":", drops.by_receiver,
      ",\"queue_bytes\":", counters.queue_bytes,
      ",\"queue_bytes_peak\":", counters.queue_bytes_peak,
      ",\"in_flight_packets\":", counters.in_flight_packets,
      ",\"late_us_mean\":", absl::ToDoubleMicroseconds(late_mean),
      ",\"late_us_max\":", absl::ToDoubleMicroseconds(counters.late_max), "}");
}

std::string ErrorJson(const absl::Status& error) {
  std::string text(error.message());
  for (char& byte : text) {
    if (static_cast<unsigned char>(byte) < ' ') byte = ' ';
  }
  std::string escaped;
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') escaped += '\\';
    escaped += byte;
  }
  return absl::StrCat("{\"ok\":false,\"error\":\"", escaped, "\"}");
}

}  // namespace homeward
