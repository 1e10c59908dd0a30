// What each answer of the configuration server looks like to people. Every text ends with a line
// feed, unless it is empty.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_TABLES_H_
#define HOMEWARD_CONFIG_SERVER_CLI_TABLES_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "config_server/cli/format.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {

// A disk's size after its name; its sectors too, unless they are the usual 512 bytes.
template <typename Disk>
std::string FormatSize(const Disk& disk) {
  const uint32_t sector = disk.logical_sector_bytes();
  return absl::StrCat(
      ", ", FormatBytes(disk.size_bytes()),
      sector == 0 || sector == 512 ? "" : absl::StrCat(", sectors of ", sector, " bytes"));
}

std::string FormatMachines(const admin::v1::ListMachinesResponse& response);
std::string FormatMachine(const admin::v1::Machine& machine);
std::string FormatFindings(const admin::v1::RepairFindings& findings);
std::string FormatPoints(const admin::v1::ListPointsResponse& response);

std::string FormatPolicy(const admin::v1::NamedPolicy& policy);
std::string FormatPolicies(const admin::v1::ListPoliciesResponse& response);
// A line for each of its settings; with `own`, those are said to be the machine's own.
void AppendPolicy(const admin::v1::Policy& policy, const admin::v1::Policy& own, std::string* out);

std::string FormatGroup(const admin::v1::ReplicationGroup& group);
std::string FormatGroups(const admin::v1::ListGroupsResponse& response);

std::string FormatPlan(const admin::v1::RecoveryPlan& plan);
std::string FormatPlans(const admin::v1::ListPlansResponse& response);
std::string FormatPlanCheck(const admin::v1::CheckPlanResponse& response);

std::string FormatServers(const admin::v1::ListServersResponse& response);
std::string FormatServer(const admin::v1::Server& server);

std::string FormatVcenter(const admin::v1::Vcenter& vcenter);
std::string FormatVcenters(const admin::v1::ListVcentersResponse& response);
std::string FormatAzureSite(const admin::v1::AzureSite& site);
std::string FormatAzureSites(const admin::v1::ListAzureSitesResponse& response);
std::string FormatEsxHosts(const admin::v1::Inventory& inventory);
std::string FormatEsxDatastores(const admin::v1::Inventory& inventory);
std::string FormatVirtualMachines(const admin::v1::Inventory& inventory);

std::string FormatJobs(const admin::v1::ListJobsResponse& response);
std::string FormatJob(const admin::v1::Job& job);
std::string FormatHealth(const admin::v1::Health& health);
std::string FormatEvents(const admin::v1::ListEventsResponse& response);

std::string FormatRegistrations(const admin::v1::ListRegistrationsResponse& response);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_TABLES_H_
