// The configuration server: keeps every registration, the machine database, jobs and the CA, and
// orchestrates.
#ifndef HOMEWARD_CONFIG_SERVER_HOST_CONFIG_SERVER_H_
#define HOMEWARD_CONFIG_SERVER_HOST_CONFIG_SERVER_H_

#include <memory>

#include "common/daemon/daemon.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {

void CheckConfigServerConfig(const google::protobuf::Message& config, ConfigProblems* problems);
absl::StatusOr<std::unique_ptr<Daemon>> StartConfigServer(const google::protobuf::Message& config,
                                                          const Environment& environment);
// What --restore does, with the backup's path.
absl::StatusOr<std::string> RestoreConfigServer(const google::protobuf::Message& config,
                                                const std::string& backup);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_HOST_CONFIG_SERVER_H_
