// Early return for absl::Status and absl::StatusOr, and one way to add context on the way up.
#ifndef HOMEWARD_COMMON_STATUS_STATUS_MACROS_H_
#define HOMEWARD_COMMON_STATUS_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace homeward {

// The same code with "`context`: " before the message. OK stays OK.
inline absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status out(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

}  // namespace homeward

#define HW_RETURN_IF_ERROR(expression)                                            \
  do {                                                                            \
    if (absl::Status hw_status = (expression); !hw_status.ok()) return hw_status; \
  } while (false)

#define HW_CONCAT_INNER(a, b) a##b
#define HW_CONCAT(a, b) HW_CONCAT_INNER(a, b)
#define HW_ASSIGN_OR_RETURN(target, expression) \
  HW_ASSIGN_OR_RETURN_INNER(HW_CONCAT(hw_result_, __LINE__), target, expression)
#define HW_ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return std::move(result).status();        \
  target = *std::move(result)

#endif  // HOMEWARD_COMMON_STATUS_STATUS_MACROS_H_
