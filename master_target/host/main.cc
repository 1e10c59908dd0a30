// homeward-master-target: keeps machines' recovery points and writes their disks to datastores.
#include "common/daemon/daemon.h"
#include "master_target/host/master_target.h"

int main(int argc, char** argv) {
  return homeward::DaemonMain(
      argc, argv,
      {.name = "homeward-master-target",
       .purpose = "keeps machines' recovery points and writes their disks to datastores",
       .check = homeward::CheckMasterTargetConfig,
       .new_config = [] { return std::make_unique<homeward::config::v1::MasterTargetConfig>(); },
       .start = homeward::StartMasterTarget,
       .commands = {{.flag = "prepare_retention",
                     .purpose = "make and check the directory for recovery points",
                     .run = [](const auto& config, const auto&) {
                       return homeward::PrepareRetention(config);
                     }}}});
}
