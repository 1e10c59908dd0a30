// homeward-config-server: keeps registrations, rules, jobs and the CA, and orchestrates.
#include "common/daemon/daemon.h"
#include "config_server/host/config_server.h"

int main(int argc, char** argv) {
  return homeward::DaemonMain(
      argc, argv,
      {.name = "homeward-config-server",
       .purpose = "keeps registrations, rules, jobs and the CA, and orchestrates",
       .check = homeward::CheckConfigServerConfig,
       .new_config = [] { return std::make_unique<homeward::config::v1::ConfigServerConfig>(); },
       .start = homeward::StartConfigServer,
       .commands = {{.flag = "restore",
                     .purpose = "make the configuration server anew out of a backup",
                     .run = homeward::RestoreConfigServer,
                     .argument = "FILE"}}});
}
