// The mobility agent: opens the machine's disks, registers the machine, ships what it is told to.
#ifndef HOMEWARD_MOBILITY_AGENT_HOST_AGENT_H_
#define HOMEWARD_MOBILITY_AGENT_HOST_AGENT_H_

#include <memory>
#include <string>

#include "common/daemon/daemon.h"
#include "common/os/file_system.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {

void CheckAgentConfig(const google::protobuf::Message& config, ConfigProblems* problems);
absl::StatusOr<std::unique_ptr<Daemon>> StartAgent(const google::protobuf::Message& config,
                                                   const Environment& environment);

// For a copy of a machine that is to be a machine of its own: sets its identity aside and says so.
absl::StatusOr<std::string> EnrolAnewAtNextStart(const google::protobuf::Message& config);

// What the machine was booted with, as its kernel's /sys tells: "bios", "efi", or empty where that
// is not to be seen, as in a container.
std::string BootFirmware(FileSystem& files);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_HOST_AGENT_H_
