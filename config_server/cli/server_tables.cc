#include "config_server/cli/tables.h"

#include "absl/strings/str_cat.h"
#include "common/wire/time_proto.h"
#include "config_server/cli/format.h"

namespace homeward {
std::string FormatServers(const admin::v1::ListServersResponse& response) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "ROLE", "CONNECTED", "HEALTH", "MACHINES", "ADDRESS"}};
  for (const admin::v1::Server& server : response.servers()) {
    rows.push_back({server.name(), ShortId(server.host_id()), FormatRole(server.role()),
                    YesOrNo(server.connected()), server.health(),
                    absl::StrCat(server.machine_count()), server.replication_address()});
  }
  return FormatTable(rows);
}

std::string FormatServer(const admin::v1::Server& server) {
  std::string out;
  AppendField("Name", server.name(), &out);
  AppendField("ID", server.host_id(), &out);
  AppendField("Role", FormatRole(server.role()), &out);
  AppendField("Version", server.version(), &out);
  AppendField("Address", server.replication_address(), &out);
  AppendField("Connected", YesOrNo(server.connected()), &out);
  if (!server.chosen_vm().empty()) AppendField("VM (chosen)", server.chosen_vm(), &out);
  AppendField("Machines", absl::StrCat(server.machine_count()), &out);
  for (const types::v1::Datastore& store : server.datastores()) {
    AppendField("Datastore",
                absl::StrCat(store.path(), ", ", FormatBytes(store.free_bytes()), " of ",
                             FormatBytes(store.total_bytes()), " free"),
                &out);
  }
  for (const types::v1::BlockDevice& device : server.block_devices()) {
    AppendField("Block device", absl::StrCat(device.path(), FormatSize(device)), &out);
  }
  if (!server.retention_volume().path().empty()) {
    AppendField("Retention",
                absl::StrCat(server.retention_volume().path(), ", ",
                             FormatBytes(server.retention_volume().free_bytes()), " free"),
                &out);
  }
  if (server.cache_total_bytes() > 0) {
    AppendField("Cache",
                absl::StrCat(FormatBytes(server.cache_free_bytes()), " of ",
                             FormatBytes(server.cache_total_bytes()), " free"),
                &out);
    AppendField("Pending", FormatBytes(server.pending_bytes()), &out);
  }
  if (server.has_time_to_drain())
    AppendField("Time to drain", FormatTimeSpan(FromProto(server.time_to_drain())), &out);
  AppendField("Health", server.health(), &out);
  AppendIssues(server.health_errors(), &out);
  return out;
}

}  // namespace homeward
