#include "config_server/cli/format.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/rpc/problem_status.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

std::string FormatRetry(const types::v1::Problem& problem) {
  if (!problem.retryable()) return "no; change something first";
  if (!problem.has_retry_at()) return "yes";
  return absl::StrCat("yes, after ", FormatTime(problem.retry_at()), " at the latest");
}

}  // namespace

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      absl::StrAppendFormat(&line, "%-*s  ", static_cast<int>(widths[i]), row[i]);
    absl::StrAppend(&out, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return out;
}

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%E3S UTC", FromProto(time), absl::UTCTimeZone());
}

std::string FormatTimeSpan(absl::Duration duration) {
  const absl::Duration size = absl::AbsDuration(duration);
  const absl::Duration unit = size < absl::Seconds(1)   ? absl::Milliseconds(1)
                              : size < absl::Minutes(1) ? absl::Milliseconds(100)
                                                        : absl::Seconds(1);
  return absl::FormatDuration(absl::Trunc(duration, unit));
}

std::string ShortId(const std::string& id) { return id.substr(0, 8); }

std::string FormatRole(types::v1::ServerRole role) {
  return role == types::v1::PROCESS_SERVER ? "process server" : "master target";
}

const char* YesOrNo(bool value) { return value ? "yes" : "no"; }

void AppendField(const char* name, const std::string& value, std::string* out) {
  if (!value.empty()) absl::StrAppendFormat(out, "%-18s %s\n", name, value);
}

std::string FormatIssue(const types::v1::HealthIssue& issue) {
  return absl::StrCat(issue.severity() == types::v1::CRITICAL ? "Critical " : "Warning ",
                      issue.problem().id(), ": ", issue.problem().message());
}

void AppendIssues(const google::protobuf::RepeatedPtrField<types::v1::HealthIssue>& issues,
                  std::string* out) {
  for (const types::v1::HealthIssue& issue : issues) {
    absl::StrAppend(out, "  ", FormatIssue(issue), "\n");
    if (!issue.problem().action().empty())
      absl::StrAppend(out, "    -> ", issue.problem().action(), "\n");
  }
}

std::string FormatProblem(const types::v1::Problem& problem) {
  std::string out = absl::StrCat(
      problem.id(), problem.number() == 0 ? "" : absl::StrCat(" (", problem.number(), ")"), ": ",
      problem.message(), "\n");
  if (!problem.causes().empty())
    absl::StrAppend(&out, "  why:   ", absl::StrJoin(problem.causes(), "; "), "\n");
  if (!problem.action().empty()) absl::StrAppend(&out, "  do:    ", problem.action(), "\n");
  absl::StrAppend(&out, "  retry: ", FormatRetry(problem), "\n");
  return out;
}

std::string FormatFailure(const absl::Status& status) {
  if (const std::optional<types::v1::Problem> problem = ProblemOf(status))
    return FormatProblem(*problem);
  std::string out =
      absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message(), "\n");
  if (absl::IsUnavailable(status)) {
    absl::StrAppend(&out,
                    "  do:    Check --server, and that homeward-config-server is running there.\n");
  }
  return out;
}

}  // namespace homeward
