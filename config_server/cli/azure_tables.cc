#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config_server/cli/format.h"
#include "config_server/cli/tables.h"

namespace homeward {

std::string FormatAzureSite(const admin::v1::AzureSite& site) {
  std::string out;
  AppendField("Name", site.name(), &out);
  AppendField("Subscription", site.subscription(), &out);
  AppendField("Resource group", site.resource_group(), &out);
  AppendField("Region", site.region(), &out);
  AppendField("Subnet", site.subnet(), &out);
  AppendField("Test subnet", site.test_subnet(), &out);
  for (const std::string& container : site.containers()) AppendField("Container", container, &out);
  AppendField("VM size", site.default_size(), &out);
  AppendField("State", site.state(), &out);
  if (site.has_since()) AppendField("Since", FormatTime(site.since()), &out);
  if (!site.error().empty()) AppendField("Error", site.error(), &out);
  return out;
}

std::string FormatAzureSites(const admin::v1::ListAzureSitesResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "REGION", "RESOURCE GROUP", "STATE", "SINCE", "MACHINES", "ERROR"}};
  for (const admin::v1::AzureSite& site : response.sites()) {
    rows.push_back({site.name(), site.region(), site.resource_group(), site.state(),
                    site.has_since() ? FormatTime(site.since()) : "-",
                    absl::StrCat(site.machine_count()), site.error()});
  }
  return FormatTable(rows);
}

}  // namespace homeward
