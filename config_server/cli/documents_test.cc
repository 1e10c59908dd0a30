#include "config_server/cli/documents.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "homeward/admin/v1/admin.pb.h"

namespace homeward {
namespace {

// A machine with a value of every kind, and texts that YAML could take for something else.
admin::v1::ListMachinesResponse Machines() {
  admin::v1::ListMachinesResponse response;
  admin::v1::Machine& machine = *response.add_machines();
  machine.set_name("no");
  machine.set_os_name("Debian: \"12\"\t\\ # \xC3\xA9 \xF3\xA0\x80\x81\n- second line");
  machine.set_agent_version("1e3");
  machine.set_capture(" ~ ");
  machine.set_generation(18446744073709551615u);
  machine.set_rpo_seconds(0.1);
  machine.set_agent_connected(true);
  machine.mutable_registered_at()->set_seconds(1700000000);
  machine.add_allowed_operations("null");
  machine.add_allowed_operations("");
  admin::v1::RecordedDisk& disk = *machine.mutable_vm()->add_disks();
  disk.set_bus(-3);
  disk.set_file("[ds1] web-1/web-1.vmdk");
  response.add_machines()->set_rpo_seconds(123456789.123456789);
  return response;
}

// Whether a reader of YAML finds what a reader of JSON finds. Texts must be quoted, and nothing
// else.
void ExpectSame(const YAML::Node& yaml, const nlohmann::json& json) {
  if (json.is_object()) {
    ASSERT_TRUE(yaml.IsMap());
    EXPECT_EQ(yaml.size(), json.size());
    for (const auto& [name, value] : json.items()) {
      SCOPED_TRACE(name);
      ASSERT_TRUE(yaml[name].IsDefined());
      ExpectSame(yaml[name], value);
    }
  } else if (json.is_array()) {
    ASSERT_TRUE(yaml.IsSequence());
    ASSERT_EQ(yaml.size(), json.size());
    for (size_t i = 0; i < yaml.size(); ++i) ExpectSame(yaml[i], json[i]);
  } else if (json.is_string()) {
    EXPECT_EQ(yaml.Tag(), "!") << "not quoted: " << yaml.Scalar();
    EXPECT_EQ(yaml.Scalar(), json.get<std::string>());
  } else if (json.is_boolean()) {
    EXPECT_EQ(yaml.Tag(), "?");
    EXPECT_EQ(yaml.as<bool>(), json.get<bool>());
  } else if (json.is_number()) {
    EXPECT_EQ(yaml.Tag(), "?");
    EXPECT_EQ(yaml.as<double>(), json.get<double>());
  } else {
    EXPECT_TRUE(yaml.IsNull());
  }
}

TEST(DocumentsTest, YamlReadsBackAsTheJson) {
  const admin::v1::ListMachinesResponse machines = Machines();
  ExpectSame(YAML::Load(ToYaml(machines)), nlohmann::json::parse(ToJson(machines)));
}

TEST(DocumentsTest, EveryFieldIsPresentUnderItsNameInTheProto) {
  const YAML::Node machine = YAML::Load(ToYaml(Machines()))["machines"][1];
  const auto* const descriptor = admin::v1::Machine::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto& field = *descriptor->field(i);
    // A message or an optional field that is absent is absent here too.
    if (field.has_presence()) continue;
    EXPECT_TRUE(machine[field.name()].IsDefined()) << field.name();
  }
}

TEST(DocumentsTest, AnEmptyAnswerIsADocumentToo) {
  const YAML::Node yaml = YAML::Load(ToYaml(admin::v1::ListMachinesResponse()));
  ASSERT_TRUE(yaml["machines"].IsSequence());
  EXPECT_EQ(yaml["machines"].size(), 0u);
  EXPECT_TRUE(YAML::Load(ToYaml(admin::v1::GetHealthRequest())).IsMap());
}

}  // namespace
}  // namespace homeward
