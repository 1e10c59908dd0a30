#include "config_server/cli/plan_file.h"

#include <yaml-cpp/yaml.h>

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using admin::v1::PlanAction;
using admin::v1::PlanGroup;
using admin::v1::RecoveryPlan;

// One file that is read. Each function says where it stands.
class PlanReader {
 public:
  explicit PlanReader(std::string path) : path_(std::move(path)) {}

  absl::StatusOr<RecoveryPlan> Read(const YAML::Node& root) const {
    HW_RETURN_IF_ERROR(CheckKeys(root, "the plan", {"name", "groups"}, {"point", "at_failure"}));
    RecoveryPlan plan;
    HW_ASSIGN_OR_RETURN(*plan.mutable_name(), Text(root["name"], "name"));
    if (root["point"]) {
      HW_ASSIGN_OR_RETURN(*plan.mutable_point(), Text(root["point"], "point"));
      if (plan.point() != "latest" && plan.point() != "latest-app-consistent")
        return Wrong(root["point"], "point", "write latest or latest-app-consistent");
    }
    if (root["at_failure"]) {
      HW_ASSIGN_OR_RETURN(const std::string word, Text(root["at_failure"], "at_failure"));
      if (word != "wait" && word != "stop")
        return Wrong(root["at_failure"], "at_failure", "write wait or stop");
      plan.set_stops_at_failure(word == "stop");
    }
    if (!root["groups"].IsSequence() || root["groups"].size() == 0)
      return Wrong(root["groups"], "groups", "write a list with a group or more");
    for (const YAML::Node& node : root["groups"])
      HW_RETURN_IF_ERROR(ReadGroup(node, plan.add_groups()));
    return plan;
  }
  absl::Status Wrong(const YAML::Mark& mark, const std::string& key, const std::string& fix) const {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ":", mark.line + 1, ": ", key, ": ", fix));
  }

 private:
  absl::Status Wrong(const YAML::Node& node, const std::string& key, const std::string& fix) const {
    return Wrong(node.Mark(), key, fix);
  }
  absl::Status CheckKeys(const YAML::Node& node, const std::string& what,
                         const std::set<std::string>& required,
                         const std::set<std::string>& optional) const {
    std::vector<std::string> known(required.begin(), required.end());
    known.insert(known.end(), optional.begin(), optional.end());
    if (!node.IsMap()) {
      return Wrong(node, what, absl::StrCat("write keys and values: ", absl::StrJoin(known, ", ")));
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      if (!required.contains(key) && !optional.contains(key)) {
        return Wrong(
            entry.first, key,
            absl::StrCat("is no key of ", what, "; those are ", absl::StrJoin(known, ", ")));
      }
      if (!seen.insert(key).second) return Wrong(entry.first, key, "is there twice: leave one");
    }
    for (const std::string& key : required) {
      if (!seen.contains(key)) return Wrong(node, key, absl::StrCat("is missing in ", what));
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Text(const YAML::Node& node, const std::string& key) const {
    if (!node.IsScalar() || node.Scalar().empty()) return Wrong(node, key, "write a text");
    return node.Scalar();
  }
  absl::Status ReadGroup(const YAML::Node& node, PlanGroup* group) const {
    HW_RETURN_IF_ERROR(CheckKeys(node, "a group", {"machines"}, {"before", "after"}));
    const YAML::Node machines = node["machines"];
    if (!machines.IsSequence() || machines.size() == 0)
      return Wrong(machines, "machines", "write a list of names or ids");
    for (const YAML::Node& machine : machines) {
      HW_ASSIGN_OR_RETURN(*group->add_machines(), Text(machine, "machines"));
    }
    HW_RETURN_IF_ERROR(ReadActions(node["before"], "before", group->mutable_before()));
    return ReadActions(node["after"], "after", group->mutable_after());
  }
  absl::Status ReadActions(const YAML::Node& node, const std::string& key,
                           google::protobuf::RepeatedPtrField<PlanAction>* actions) const {
    if (!node) return absl::OkStatus();
    if (!node.IsSequence()) return Wrong(node, key, "write a list of actions");
    for (const YAML::Node& action : node) HW_RETURN_IF_ERROR(ReadAction(action, actions->Add()));
    return absl::OkStatus();
  }
  absl::Status ReadAction(const YAML::Node& node, PlanAction* action) const {
    HW_RETURN_IF_ERROR(CheckKeys(node, "an action", {}, {"script", "timeout", "manual"}));
    if (static_cast<bool>(node["script"]) == static_cast<bool>(node["manual"]))
      return Wrong(node, "an action", "write either script or manual");
    if (node["manual"]) {
      if (node["timeout"]) return Wrong(node["timeout"], "timeout", "is of a script: leave it out");
      HW_ASSIGN_OR_RETURN(*action->mutable_instruction(), Text(node["manual"], "manual"));
      return absl::OkStatus();
    }
    const YAML::Node script = node["script"];
    if (!script.IsSequence() || script.size() == 0)
      return Wrong(script, "script", "write a list: the script's name, then its arguments");
    admin::v1::PlanScript& out = *action->mutable_script();
    for (size_t i = 0; i < script.size(); ++i) {
      if (!script[i].IsScalar()) return Wrong(script[i], "script", "write a text");
      i == 0 ? out.set_name(script[i].Scalar()) : out.add_arguments(script[i].Scalar());
    }
    if (!node["timeout"]) return absl::OkStatus();
    HW_ASSIGN_OR_RETURN(const std::string text, Text(node["timeout"], "timeout"));
    absl::Duration timeout;
    if (!absl::ParseDuration(text, &timeout) || timeout <= absl::ZeroDuration())
      return Wrong(node["timeout"], "timeout", "write a duration such as 90s or 5m");
    *out.mutable_timeout() = ToProto(timeout);
    return absl::OkStatus();
  }

  const std::string path_;
};

void WriteActions(const char* key, const google::protobuf::RepeatedPtrField<PlanAction>& actions,
                  YAML::Emitter* out) {
  if (actions.empty()) return;
  *out << YAML::Key << key << YAML::Value << YAML::BeginSeq;
  for (const PlanAction& action : actions) {
    *out << YAML::BeginMap;
    if (action.has_script()) {
      *out << YAML::Key << "script" << YAML::Value << YAML::Flow << YAML::BeginSeq
           << YAML::DoubleQuoted << action.script().name();
      for (const std::string& argument : action.script().arguments())
        *out << YAML::DoubleQuoted << argument;
      *out << YAML::EndSeq;
      if (action.script().has_timeout()) {
        *out << YAML::Key << "timeout" << YAML::Value
             << absl::FormatDuration(FromProto(action.script().timeout()));
      }
    } else {
      *out << YAML::Key << "manual" << YAML::Value << YAML::DoubleQuoted << action.instruction();
    }
    *out << YAML::EndMap;
  }
  *out << YAML::EndSeq;
}

}  // namespace

absl::StatusOr<RecoveryPlan> ParsePlanFile(const std::string& path, const std::string& text) {
  const PlanReader reader(path);
  // yaml-cpp reports by exceptions, which end here.
  try {
    return reader.Read(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return reader.Wrong(error.mark, "YAML", error.msg);
  }
}

std::string WritePlanFile(const RecoveryPlan& plan) {
  YAML::Emitter out;
  out << YAML::BeginMap << YAML::Key << "name" << YAML::Value << YAML::DoubleQuoted << plan.name();
  out << YAML::Key << "point" << YAML::Value << (plan.point().empty() ? "latest" : plan.point());
  out << YAML::Key << "at_failure" << YAML::Value << (plan.stops_at_failure() ? "stop" : "wait");
  out << YAML::Key << "groups" << YAML::Value << YAML::BeginSeq;
  for (const PlanGroup& group : plan.groups()) {
    out << YAML::BeginMap << YAML::Key << "machines" << YAML::Value << YAML::BeginSeq;
    for (const std::string& machine : group.machines()) out << YAML::DoubleQuoted << machine;
    out << YAML::EndSeq;
    WriteActions("before", group.before(), &out);
    WriteActions("after", group.after(), &out);
    out << YAML::EndMap;
  }
  out << YAML::EndSeq << YAML::EndMap;
  return std::string(out.c_str(), out.size()) + "\n";
}

}  // namespace homeward
