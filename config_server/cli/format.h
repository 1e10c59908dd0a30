// How the homeward command shows tables, bytes, times and problems to people.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_FORMAT_H_
#define HOMEWARD_CONFIG_SERVER_CLI_FORMAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "google/protobuf/timestamp.pb.h"
#include "homeward/types/v1/types.pb.h"

namespace homeward {

// Columns as wide as they must be. The first row is the heading.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);
// "512 B", "1.5 GiB".
std::string FormatBytes(uint64_t bytes);
// "2026-11-28 15:47:38.120 UTC". Every time that is shown is shown like this.
std::string FormatTime(const google::protobuf::Timestamp& time);
// "250ms", "12.5s", "1h2m5s": milliseconds under a second, tenths of a second under a minute, whole
// seconds from then on.
std::string FormatTimeSpan(absl::Duration duration);
// The beginning of an id: enough to tell ids apart, and taken by every command.
std::string ShortId(const std::string& id);
std::string FormatRole(types::v1::ServerRole role);
const char* YesOrNo(bool value);

// A line "Name               value"; nothing when the value is empty.
void AppendField(const char* name, const std::string& value, std::string* out);
// "Warning CACHE_LOW: ...".
std::string FormatIssue(const types::v1::HealthIssue& issue);
// A line for each issue, and one for what to do about it.
void AppendIssues(const google::protobuf::RepeatedPtrField<types::v1::HealthIssue>& issues,
                  std::string* out);

// What failed, why, what to do, whether to try again.
std::string FormatProblem(const types::v1::Problem& problem);
std::string FormatFailure(const absl::Status& status);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_FORMAT_H_
