// Log: events for operators, one line each: time, level, dotted name, typed fields. To standard
// error, where systemd takes them. Never a secret, never guest data.
#ifndef HOMEWARD_COMMON_LOG_LOG_H_
#define HOMEWARD_COMMON_LOG_LOG_H_

#include <concepts>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace homeward {

struct LogField {
  LogField(absl::string_view key, absl::string_view value) : key(key), value(value) {}
  LogField(absl::string_view key, const char* value) : key(key), value(value) {}
  LogField(absl::string_view key, const std::string& value) : key(key), value(value) {}
  // Code and message. What else a status carries is for programs: bytes that no one can read.
  LogField(absl::string_view key, const absl::Status& value)
      : key(key), value(value.ToString(absl::StatusToStringMode::kWithNoExtraData)) {}
  LogField(absl::string_view key, absl::Duration value)
      : key(key), value(absl::FormatDuration(value)) {}
  template <std::integral T>
  LogField(absl::string_view key, T value) : key(key), value(absl::StrCat(value)) {}

  absl::string_view key;
  std::string value;
};
using LogFields = std::initializer_list<LogField>;

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// All thread-safe.
void SetLogLevel(LogLevel level);
void LogInfo(absl::string_view event, LogFields fields = {});
void LogWarn(absl::string_view event, LogFields fields = {});
void LogError(absl::string_view event, LogFields fields = {});

}  // namespace homeward

#endif  // HOMEWARD_COMMON_LOG_LOG_H_
