// The process server: takes the streams of the machines it is assigned, caches them, forwards them.
#ifndef HOMEWARD_PROCESS_SERVER_HOST_PROCESS_SERVER_H_
#define HOMEWARD_PROCESS_SERVER_HOST_PROCESS_SERVER_H_

#include <memory>

#include "common/daemon/daemon.h"
#include "homeward/config/v1/config.pb.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

void CheckProcessServerConfig(const google::protobuf::Message& config, ConfigProblems* problems);
absl::StatusOr<std::unique_ptr<Daemon>> StartProcessServer(const google::protobuf::Message& config,
                                                           const Environment& environment);

// What is wrong with it, by the limits of the domain (cache free, pending data, processor, memory).
std::vector<types::v1::HealthIssue> JudgeProcessServer(
    const control::v1::ProcessServerObserved& observed);

// How large the cache is: what is configured, or else what its volume can spare: `free_bytes` of
// it, of which `held_bytes` are in the cache already.
uint64_t CacheBytesOf(uint64_t configured_bytes, uint64_t free_bytes, uint64_t held_bytes);
// What is left of a cache that holds `pending_bytes`: never more than its volume has.
uint64_t CacheFreeOf(uint64_t cache_bytes, uint64_t pending_bytes, uint64_t volume_free_bytes);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_HOST_PROCESS_SERVER_H_
