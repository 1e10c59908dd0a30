// homeward-process-server: relays machines' replication streams and caches them on the way.
#include "common/daemon/daemon.h"
#include "process_server/host/process_server.h"

int main(int argc, char** argv) {
  return homeward::DaemonMain(
      argc, argv,
      {.name = "homeward-process-server",
       .purpose = "relays machines' replication streams and caches them on the way",
       .check = homeward::CheckProcessServerConfig,
       .new_config = [] { return std::make_unique<homeward::config::v1::ProcessServerConfig>(); },
       .start = homeward::StartProcessServer});
}
