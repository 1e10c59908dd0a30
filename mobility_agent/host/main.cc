// homeward-agent: in every protected machine; captures its writes and registers it after every
// boot.
#include "common/daemon/daemon.h"
#include "mobility_agent/host/agent.h"

int main(int argc, char** argv) {
  return homeward::DaemonMain(
      argc, argv,
      {.name = "homeward-agent",
       .purpose = "captures a machine's writes and registers it after every boot",
       .check = homeward::CheckAgentConfig,
       .new_config = [] { return std::make_unique<homeward::config::v1::AgentConfig>(); },
       .start = homeward::StartAgent,
       .commands = {{.flag = "enrol_anew",
                     .purpose = "set the identity of the machine that this one is a clone of aside",
                     .run = [](const auto& config, const auto&) {
                       return homeward::EnrolAnewAtNextStart(config);
                     }}}});
}
