#include "common/config/delay.h"

#include <algorithm>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using config::v1::Delay;

constexpr uint64_t kTraceBytesMax = 16 << 20;

bool IsPositive(const google::protobuf::Duration& duration) {
  return FromProto(duration) > absl::ZeroDuration();
}

absl::Duration Limited(absl::Duration drawn, bool has_max, const google::protobuf::Duration& max) {
  return has_max ? std::min(drawn, FromProto(max)) : drawn;
}

}  // namespace

void RequireDelay(const std::string& key, const Delay& delay, ConfigProblems* problems) {
  switch (delay.kind_case()) {
    case Delay::kFixed:
      if (FromProto(delay.fixed()) < absl::ZeroDuration())
        problems->Add(key + ".fixed", "must not be negative");
      break;
    case Delay::kUniform:
      if (FromProto(delay.uniform().min()) < absl::ZeroDuration() ||
          FromProto(delay.uniform().max()) < FromProto(delay.uniform().min())) {
        problems->Add(key + ".uniform", "needs 0 <= min <= max");
      }
      break;
    case Delay::kLogNormal:
      if (!IsPositive(delay.log_normal().median()))
        problems->Add(key + ".log_normal.median", "must be longer than zero");
      if (!(delay.log_normal().sigma() >= 0))
        problems->Add(key + ".log_normal.sigma", "must not be negative");
      break;
    case Delay::kExponential:
      if (!IsPositive(delay.exponential().mean()))
        problems->Add(key + ".exponential.mean", "must be longer than zero");
      if (delay.exponential().has_max() && !IsPositive(delay.exponential().max()))
        problems->Add(key + ".exponential.max", "must be longer than zero, or be left out");
      break;
    case Delay::kTrace:
      RequireAbsolutePath(key + ".trace.file", delay.trace().file(), problems);
      break;
    case Delay::KIND_NOT_SET:
      problems->Add(key, "needs one of fixed, uniform, log_normal, exponential, trace");
  }
}

absl::StatusOr<std::vector<absl::Duration>> ParseTrace(const std::string& file,
                                                       const std::string& text) {
  std::vector<absl::Duration> trace;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::Duration duration;
    if (!absl::ParseDuration(line, &duration) || duration < absl::ZeroDuration() ||
        duration == absl::InfiniteDuration()) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ":", number, ": \"", absl::Utf8SafeCHexEscape(line.substr(0, 40)),
                       "\" is no duration; write one a line, as 90s, 1m30s or 1.5s"));
    }
    trace.push_back(duration);
  }
  if (trace.empty())
    return absl::InvalidArgumentError(
        absl::StrCat(file, " has no durations; write one a line, as 90s, 1m30s or 1.5s"));
  return trace;
}

absl::StatusOr<DelaySource> DelaySource::Open(FileSystem& files, const Delay& delay) {
  if (!delay.has_trace()) return DelaySource(delay, {});
  HW_ASSIGN_OR_RETURN(const std::string text,
                      ReadWholeFile(files, delay.trace().file(), kTraceBytesMax));
  HW_ASSIGN_OR_RETURN(std::vector<absl::Duration> trace, ParseTrace(delay.trace().file(), text));
  return DelaySource(delay, std::move(trace));
}

absl::Duration DelaySource::Draw(uint64_t random_seed) const {
  if (delay_.seed() != 0) return DrawAs(delay_.seed());
  return delay_.has_trace() ? trace_[std::mt19937_64(random_seed)() % trace_.size()]
                            : DrawAs(random_seed);
}

absl::Duration DelaySource::DrawAs(uint64_t seed) const {
  std::mt19937_64 random(seed);
  switch (delay_.kind_case()) {
    case Delay::kFixed:
      return FromProto(delay_.fixed());
    case Delay::kUniform: {
      const absl::Duration min = FromProto(delay_.uniform().min());
      const absl::Duration max = FromProto(delay_.uniform().max());
      return min + (max - min) * std::uniform_real_distribution<>(0, 1)(random);
    }
    case Delay::kLogNormal: {
      const config::v1::LogNormal& log_normal = delay_.log_normal();
      const double factor = std::lognormal_distribution<>(0, log_normal.sigma())(random);
      return Limited(FromProto(log_normal.median()) * factor, log_normal.has_max(),
                     log_normal.max());
    }
    case Delay::kExponential: {
      const config::v1::Exponential& exponential = delay_.exponential();
      const double factor = std::exponential_distribution<>(1)(random);
      return Limited(FromProto(exponential.mean()) * factor, exponential.has_max(),
                     exponential.max());
    }
    case Delay::kTrace:
      return trace_[(seed - 1) % trace_.size()];
    case Delay::KIND_NOT_SET:
      return absl::ZeroDuration();
  }
  return absl::ZeroDuration();
}

}  // namespace homeward
