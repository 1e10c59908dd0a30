#include "config_server/cli/documents.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <array>
#include <charconv>
#include <map>

#include "common/base/check.h"

namespace homeward {
namespace {

using google::protobuf::Value;

// The shortest text that reads back as the same number.
std::string NumberText(double number) {
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), number);
  HW_CHECK(error == std::errc());
  return std::string(text.data(), end);
}

void Emit(const Value& value, YAML::Emitter* out) {
  switch (value.kind_case()) {
    case Value::kStructValue: {
      // In the map of a Struct the order is any; sorted, two runs are equal.
      std::map<std::string, const Value*> fields;
      for (const auto& [name, field] : value.struct_value().fields()) fields[name] = &field;
      *out << YAML::BeginMap;
      for (const auto& [name, field] : fields) {
        *out << YAML::Key << name << YAML::Value;
        Emit(*field, out);
      }
      *out << YAML::EndMap;
      break;
    }
    case Value::kListValue:
      *out << YAML::BeginSeq;
      for (const Value& item : value.list_value().values()) Emit(item, out);
      *out << YAML::EndSeq;
      break;
    case Value::kStringValue:
      // Always quoted: "no", "1e3" and "2026-01-01" stay texts for every reader.
      *out << YAML::DoubleQuoted << value.string_value();
      break;
    case Value::kBoolValue:
      *out << value.bool_value();
      break;
    case Value::kNumberValue:
      *out << NumberText(value.number_value());
      break;
    default:
      *out << YAML::Null;
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
  Value value;
  (void)google::protobuf::util::JsonStringToMessage(ToJson(message), value.mutable_struct_value());
  YAML::Emitter out;
  out << YAML::BeginDoc;
  Emit(value, &out);
  HW_CHECK(out.good());
  return std::string(out.c_str(), out.size()) + "\n";
}

}  // namespace homeward
