#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/wire/time_proto.h"
#include "config_server/cli/format.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::ListRegistrationsResponse;
using admin::v1::MachineRegistrations;
using admin::v1::RegistrationTimes;

constexpr uint64_t kBarCharactersMax = 50;

std::string Span(const google::protobuf::Duration& duration) {
  return FormatTimeSpan(FromProto(duration));
}

std::vector<std::string> RowOf(const MachineRegistrations& machine) {
  const RegistrationTimes& times = machine.times();
  std::vector<std::string> row = {machine.name(), ShortId(machine.machine_id()),
                                  absl::StrCat(times.count())};
  if (machine.has_waits_since()) {
    row.push_back(absl::StrCat("not registered since ", FormatTime(machine.waits_since())));
    return row;
  }
  const admin::v1::Boot& last = *machine.boots().rbegin();
  row.insert(row.end(), {Span(last.took()), Span(times.p50()), Span(times.max()), last.known_by(),
                         FormatTime(last.registered())});
  return row;
}

std::string FormatHistogram(const ListRegistrationsResponse& response) {
  uint64_t most = 1;
  for (const auto& bucket : response.histogram()) most = std::max(most, bucket.count());
  std::string out;
  for (const auto& bucket : response.histogram()) {
    const std::string to = bucket.has_limit() ? Span(bucket.limit()) : "longer";
    // Whatever happened at all is seen.
    const uint64_t wide = (bucket.count() * kBarCharactersMax + most - 1) / most;
    absl::StrAppendFormat(&out, "%12s %7d  %s\n", absl::StrCat("to ", to), bucket.count(),
                          std::string(wide, '#'));
  }
  return out;
}

}  // namespace

std::string FormatRegistrations(const ListRegistrationsResponse& response) {
  if (response.machines().empty()) return "no boot is known from power-on to registration\n";
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "BOOTS", "LAST TOOK", "P50", "MAX", "KNOWN BY", "LAST REGISTERED"}};
  for (const MachineRegistrations& machine : response.machines()) rows.push_back(RowOf(machine));
  std::string out = FormatTable(rows);
  const uint64_t more = response.machines_total() - response.machines().size();
  if (more > 0)
    absl::StrAppend(&out, "and ", more, " more machines, which took less; --count lists more\n");
  if (response.all().count() == 0) return out;
  const RegistrationTimes& all = response.all();
  absl::StrAppend(&out, "\n", all.count(), " boots, from power-on to registered: p50 ",
                  Span(all.p50()), ", p90 ", Span(all.p90()), ", p95 ", Span(all.p95()), ", p99 ",
                  Span(all.p99()), ", max ", Span(all.max()), "\n", FormatHistogram(response));
  return out;
}

}  // namespace homeward
