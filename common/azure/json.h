// How replies of Azure are read: what is not there, or is of another kind, is empty.
#ifndef HOMEWARD_COMMON_AZURE_JSON_H_
#define HOMEWARD_COMMON_AZURE_JSON_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace homeward::azure {

using Json = nlohmann::json;

// INTERNAL: it is none, or none with braces around.
absl::StatusOr<Json> ParseJson(const std::string& text);
// The value at a path of names; null where there is none. Names are compared without regard to
// case.
const Json& At(const Json& json, std::initializer_list<absl::string_view> path);
std::string TextAt(const Json& json, std::initializer_list<absl::string_view> path);
// Also of a number that is written as text.
int64_t NumberAt(const Json& json, std::initializer_list<absl::string_view> path);
// Names in messages of Azure may be anything; what is sent must be UTF-8.
std::string Dump(const Json& json);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_JSON_H_
