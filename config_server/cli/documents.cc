#include "config_server/cli/documents.h"

#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "common/base/check.h"

namespace homeward {
namespace {

void Emit(const nlohmann::json& value, YAML::Emitter* out) {
  if (value.is_object()) {
    *out << YAML::BeginMap;
    for (const auto& [name, field] : value.items()) {
      *out << YAML::Key << name << YAML::Value;
      Emit(field, out);
    }
    *out << YAML::EndMap;
  } else if (value.is_array()) {
    *out << YAML::BeginSeq;
    for (const nlohmann::json& item : value) Emit(item, out);
    *out << YAML::EndSeq;
  } else if (value.is_string()) {
    // Always quoted: "no", "1e3" and "2026-01-01" stay texts for every reader.
    *out << YAML::DoubleQuoted << value.get<std::string>();
  } else {
    // YAML reads numbers, true, false and null as JSON does.
    *out << value.dump();
  }
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  if (json.empty() || json.back() != '\n') json.push_back('\n');
  return json;
}

std::string ToYaml(const google::protobuf::Message& message) {
  // Not through google.protobuf.Struct: its map cannot be read under the thread sanitizer, for
  // which protobuf's header lays it out in another way than the library was built with (3.21.12).
  YAML::Emitter out;
  out << YAML::BeginDoc;
  Emit(nlohmann::json::parse(ToJson(message)), &out);
  HW_CHECK(out.good());
  return std::string(out.c_str(), out.size()) + "\n";
}

}  // namespace homeward
