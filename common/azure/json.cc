#include "common/azure/json.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace homeward::azure {

absl::StatusOr<Json> ParseJson(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) {
    return absl::InternalError(absl::StrCat("the reply is no JSON object: \"",
                                            absl::string_view(text).substr(0, 200), "\""));
  }
  return json;
}

const Json& At(const Json& json, std::initializer_list<absl::string_view> path) {
  static const Json* const none = new Json;
  const Json* at = &json;
  for (const absl::string_view name : path) {
    const Json* found = none;
    if (at->is_object()) {
      for (auto it = at->begin(); it != at->end(); ++it) {
        if (absl::EqualsIgnoreCase(it.key(), name)) found = &it.value();
      }
    }
    at = found;
  }
  return *at;
}

std::string TextAt(const Json& json, std::initializer_list<absl::string_view> path) {
  const Json& at = At(json, path);
  return at.is_string() ? at.get<std::string>() : std::string();
}

int64_t NumberAt(const Json& json, std::initializer_list<absl::string_view> path) {
  const Json& at = At(json, path);
  int64_t number = 0;
  if (at.is_number()) return at.get<int64_t>();
  return at.is_string() && absl::SimpleAtoi(at.get<std::string>(), &number) ? number : 0;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace homeward::azure
