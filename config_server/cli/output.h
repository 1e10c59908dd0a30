// Output: what the command line prints: tables for people, JSON and YAML for programs.
#ifndef HOMEWARD_CONFIG_SERVER_CLI_OUTPUT_H_
#define HOMEWARD_CONFIG_SERVER_CLI_OUTPUT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "homeward/admin/v1/admin.pb.h"

namespace homeward {

// Field names as in the protos, every field present: a stable schema.
std::string ToJson(const google::protobuf::Message& message);
std::string ToYaml(const google::protobuf::Message& message);

// Columns as wide as they must be. The first row is the heading.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);
std::string FormatBytes(uint64_t bytes);
std::string FormatTime(const google::protobuf::Timestamp& time);

std::string FormatMachines(const admin::v1::ListMachinesResponse& response);
std::string FormatMachine(const admin::v1::Machine& machine);
std::string FormatFindings(const admin::v1::RepairFindings& findings);
std::string FormatPoints(const admin::v1::ListPointsResponse& response);
std::string FormatServers(const admin::v1::ListServersResponse& response);
std::string FormatServer(const admin::v1::Server& server);
std::string FormatJobs(const admin::v1::ListJobsResponse& response);
std::string FormatJob(const admin::v1::Job& job);
std::string FormatHealth(const admin::v1::Health& health);
std::string FormatVcenter(const admin::v1::Vcenter& vcenter);
std::string FormatVcenters(const admin::v1::ListVcentersResponse& response);
std::string FormatEsxHosts(const admin::v1::Inventory& inventory);
std::string FormatEsxDatastores(const admin::v1::Inventory& inventory);
std::string FormatVirtualMachines(const admin::v1::Inventory& inventory);
std::string FormatEvents(const admin::v1::ListEventsResponse& response);

// What failed, why, what to do, whether to try again.
std::string FormatProblem(const types::v1::Problem& problem);
std::string FormatFailure(const absl::Status& status);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_CLI_OUTPUT_H_
