// The master target: keeps machines' replicas and recovery points, and brings them home.
#ifndef HOMEWARD_MASTER_TARGET_HOST_MASTER_TARGET_H_
#define HOMEWARD_MASTER_TARGET_HOST_MASTER_TARGET_H_

#include <memory>
#include <string>

#include "common/daemon/daemon.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {

void CheckMasterTargetConfig(const google::protobuf::Message& config, ConfigProblems* problems);
absl::StatusOr<std::unique_ptr<Daemon>> StartMasterTarget(const google::protobuf::Message& config,
                                                          const Environment& environment);
// Makes and checks the retention directory of the configuration; returns what is to be known of it.
absl::StatusOr<std::string> PrepareRetention(const google::protobuf::Message& config);

}  // namespace homeward

#endif  // HOMEWARD_MASTER_TARGET_HOST_MASTER_TARGET_H_
