// homeward-lab-read: a topology or a scenario as JSON, checked and complete, for deploy/lab/lab.
//   homeward-lab-read TOPOLOGY [SCENARIO]       the topology; or the scenario, checked against it
//   homeward-lab-read TOPOLOGY --inventory FILE the inventory, checked against it
//   homeward-lab-read --topology-of SCENARIO    the name of the topology that the scenario is made
//   for
#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "deploy/lab/topology/config_files.h"
#include "deploy/lab/topology/inventory.h"
#include "deploy/lab/topology/topology.h"

namespace homeward::lab {
namespace {

absl::StatusOr<std::string> ReadWhole(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  return text.str();
}

absl::Status Print(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto made = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!made.ok()) return absl::InternalError(made.ToString());
  std::cout << json << std::endl;
  return absl::OkStatus();
}

absl::StatusOr<v1::Topology> TopologyIn(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadWhole(file);
  if (!text.ok()) return text.status();
  return ReadTopology(file, *text);
}

absl::Status PrintTopologyOf(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadWhole(file);
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::string> name = TopologyOf(file, *text);
  if (name.ok()) std::cout << *name << std::endl;
  return name.status();
}

absl::Status PrintScenario(const v1::Topology& topology, const std::string& file) {
  const absl::StatusOr<std::string> text = ReadWhole(file);
  if (!text.ok()) return text.status();
  const absl::StatusOr<v1::Scenario> scenario = ReadScenario(file, *text, topology);
  return scenario.ok() ? Print(*scenario) : scenario.status();
}

absl::StatusOr<v1::Inventory> InventoryIn(const std::string& file, const v1::Topology& topology) {
  const absl::StatusOr<std::string> text = ReadWhole(file);
  if (!text.ok()) return text.status();
  return ReadInventory(file, *text, topology);
}

absl::Status PrintInventory(const v1::Topology& topology, const std::string& file) {
  const absl::StatusOr<v1::Inventory> inventory = InventoryIn(file, topology);
  return inventory.ok() ? Print(*inventory) : inventory.status();
}

absl::Status PrintConfigs(v1::Topology topology, absl::Span<const std::string> settings) {
  Places places;
  double time_scale = topology.time_scale();
  const std::map<absl::string_view, std::string*> keys{
      {"state_root", &places.state_root},
      {"enrolment_file", &places.enrolment_file},
      {"directory_root", &places.directory_root},
      {"disk_links_directory", &places.disk_links_directory},
      {"container_url", &places.container_url},
      {"key_file", &places.key_file},
      {"trusted_certificates_file", &places.trusted_certificates_file}};
  for (const std::string& setting : settings) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(setting, absl::MaxSplits('=', 1));
    if (const auto it = keys.find(parts.first); it != keys.end()) {
      *it->second = std::string(parts.second);
    } else if (parts.first == "inventory") {
      const absl::StatusOr<v1::Inventory> inventory =
          InventoryIn(std::string(parts.second), topology);
      if (!inventory.ok()) return inventory.status();
      UseAddresses(*inventory, &topology);
    } else if (parts.first == "simulated_hardware") {
      places.simulated_hardware = parts.second == "true";
    } else if (parts.first != "time_scale" || !absl::SimpleAtod(parts.second, &time_scale) ||
               !(time_scale > 0)) {
      return absl::InvalidArgumentError(absl::StrCat("--configs: \"", setting, "\" is not known"));
    }
  }
  return Print(ConfigFilesOf(topology, places, time_scale));
}

absl::Status Run(const std::vector<std::string>& arguments) {
  if (arguments[0] == "--topology-of") return PrintTopologyOf(arguments[1]);
  absl::StatusOr<v1::Topology> topology = TopologyIn(arguments[0]);
  if (!topology.ok()) return topology.status();
  if (arguments.size() == 1) return Print(*topology);
  if (arguments[1] == "--configs")
    return PrintConfigs(*std::move(topology), absl::MakeConstSpan(arguments).subspan(2));
  if (arguments[1] == "--inventory") return PrintInventory(*topology, arguments[2]);
  return PrintScenario(*topology, arguments[1]);
}

// Whether what is asked for is known, with as many arguments as it takes.
bool IsWellFormed(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return false;
  if (arguments[0] == "--topology-of") return arguments.size() == 2;
  if (arguments.size() == 1) return true;
  if (arguments[1] == "--configs") return true;
  return arguments.size() == (arguments[1] == "--inventory" ? 3u : 2u);
}

}  // namespace
}  // namespace homeward::lab

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!homeward::lab::IsWellFormed(arguments)) {
    std::cerr << "usage: homeward-lab-read TOPOLOGY [SCENARIO]\n"
                 "       homeward-lab-read --topology-of SCENARIO\n"
                 "       homeward-lab-read TOPOLOGY --inventory FILE\n"
                 "       homeward-lab-read TOPOLOGY --configs KEY=VALUE..."
              << std::endl;
    return 2;
  }
  const absl::Status status = homeward::lab::Run(arguments);
  if (status.ok()) return 0;
  std::cerr << status.message() << std::endl;
  return 1;
}
