#include "common/config/config.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/name.h"
#include "common/net/address.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::TextFormat;

class Collector : public google::protobuf::io::ErrorCollector, public ConfigProblems {
 public:
  explicit Collector(const google::protobuf::Descriptor* type) : type_(type) {}

  // google::protobuf::io::ErrorCollector. A key that nobody knows is a warning to the parser; to an
  // operator it is a setting that would do nothing.
  void AddError(int line, int, const std::string& text) override {
    problems_.push_back({line + 1, text});
  }
  void AddWarning(int line, int column, const std::string& text) override {
    AddError(line, column, text);
  }

  // ConfigProblems
  void Add(const std::string& key, const std::string& text) override {
    const auto it = taken_.find(key);
    const std::string& written = it == taken_.end() ? key : it->second;
    problems_.push_back({LineOf(written), absl::StrCat(written, ": ", text)});
  }

  // The file has the former name of `key`, so problems are told of that one.
  void Took(const std::string& key, const std::string& former) { taken_[key] = former; }

  TextFormat::ParseInfoTree* tree() { return &tree_; }
  bool empty() const { return problems_.empty(); }
  absl::Status ToStatus(const std::string& name) {
    std::stable_sort(problems_.begin(), problems_.end(),
                     [](const Problem& a, const Problem& b) { return a.line < b.line; });
    std::string text;
    for (const Problem& problem : problems_) {
      absl::StrAppend(&text, text.empty() ? "" : "\n", name,
                      problem.line > 0 ? absl::StrCat(":", problem.line) : "", ": ", problem.text);
    }
    return absl::InvalidArgumentError(text);
  }

 private:
  int LineOf(const std::string& key) {
    const TextFormat::ParseInfoTree* tree = &tree_;
    const google::protobuf::Descriptor* type = type_;
    int line = 0;
    for (absl::string_view part : absl::StrSplit(key, '.')) {
      int index = -1;
      const size_t bracket = part.find('[');
      if (bracket != part.npos) {
        (void)absl::SimpleAtoi(part.substr(bracket + 1, part.size() - bracket - 2), &index);
        part = part.substr(0, bracket);
      }
      const FieldDescriptor* const field =
          type == nullptr ? nullptr : type->FindFieldByName(std::string(part));
      if (field == nullptr || tree == nullptr) break;
      if (field->is_repeated() && index < 0) index = 0;
      const TextFormat::ParseLocation location = tree->GetLocation(field, index);
      if (location.line < 0) break;
      line = location.line + 1;
      type = field->message_type();
      tree = type == nullptr ? nullptr : tree->GetTreeForNested(field, index);
    }
    return line;
  }

  const google::protobuf::Descriptor* const type_;
  TextFormat::ParseInfoTree tree_;
  std::vector<Problem> problems_;
  std::map<std::string, std::string> taken_;  // former names by those of today
};

// A key that has another name now. Both are strings of the same message.
struct FormerKey {
  const char* former;
  const char* now;
};
constexpr FormerKey kFormerKeys[] = {{"bulk_lane_address", "data_channel_address"}};

void TakeFormerKeys(google::protobuf::Message* config, Collector* problems) {
  const google::protobuf::Reflection& fields = *config->GetReflection();
  for (const FormerKey& key : kFormerKeys) {
    const FieldDescriptor* const former = config->GetDescriptor()->FindFieldByName(key.former);
    const FieldDescriptor* const now = config->GetDescriptor()->FindFieldByName(key.now);
    if (former == nullptr || now == nullptr) continue;
    const std::string value = fields.GetString(*config, former);
    if (value.empty()) continue;
    if (!fields.GetString(*config, now).empty())
      problems->Add(key.former, absl::StrCat("is the former name of ", key.now,
                                             ", which is given too; remove one of them"));
    problems->Took(key.now, key.former);
    fields.SetString(config, now, value);
    fields.ClearField(config, former);
  }
}

}  // namespace

absl::Status ParseConfig(const std::string& name, const std::string& text, const ConfigCheck& check,
                         google::protobuf::Message* config) {
  Collector collector(config->GetDescriptor());
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&collector);
  parser.WriteLocationsTo(collector.tree());
  parser.AllowUnknownField(true);
  const bool parsed = parser.ParseFromString(text, config);
  // After a syntax error the message is not whole, and checking it would report what is not so.
  if (parsed) TakeFormerKeys(config, &collector);
  if (parsed && check) check(*config, &collector);
  return collector.empty() ? absl::OkStatus() : collector.ToStatus(name);
}

void RequireAddress(const std::string& key, const std::string& value, ConfigProblems* problems) {
  if (value.empty()) return problems->Add(key, "is missing; give host:port");
  const absl::StatusOr<HostPort> address = ParseHostPort(value);
  if (!address.ok()) problems->Add(key, std::string(address.status().message()));
}

void RequireAbsolutePath(const std::string& key, const std::string& value,
                         ConfigProblems* problems) {
  if (value.empty()) return problems->Add(key, "is missing; give an absolute path");
  const std::string wrong = WrongInPath(value);
  if (!wrong.empty())
    problems->Add(key, absl::StrCat("\"", absl::Utf8SafeCHexEscape(value), "\" ", wrong));
}

void RequireName(const std::string& key, const std::string& value, size_t bytes_max,
                 ConfigProblems* problems) {
  const std::string wrong = value.empty() ? "" : WrongInName(value, bytes_max);
  if (!wrong.empty())
    problems->Add(key, absl::StrCat("\"", absl::Utf8SafeCHexEscape(value), "\" ", wrong));
}

void RequirePositive(const std::string& key, const google::protobuf::Duration& value, bool present,
                     ConfigProblems* problems) {
  if (present && FromProto(value) <= absl::ZeroDuration())
    problems->Add(key, "must be longer than zero");
}

absl::Duration DurationOr(const google::protobuf::Duration& value, bool present,
                          absl::Duration otherwise) {
  return present ? FromProto(value) : otherwise;
}

}  // namespace homeward
