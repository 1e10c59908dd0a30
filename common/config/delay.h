// Delay: how long to wait, as a configuration has it: fixed, drawn from a distribution, or one of
// those that were measured somewhere.
#ifndef HOMEWARD_COMMON_CONFIG_DELAY_H_
#define HOMEWARD_COMMON_CONFIG_DELAY_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/config/config.h"
#include "common/os/file_system.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {

// `key` is the delay's, as in "registration.delay". What a trace file says is not looked at.
void RequireDelay(const std::string& key, const config::v1::Delay& delay, ConfigProblems* problems);

// Of a trace file: one duration a line. INVALID_ARGUMENT names `file` and the line.
absl::StatusOr<std::vector<absl::Duration>> ParseTrace(const std::string& file,
                                                       const std::string& text);

// Draws delays. Immutable.
class DelaySource {
 public:
  // Reads the trace file, if there is one. Requires: RequireDelay() found nothing, or no kind is
  // set, which is no delay.
  static absl::StatusOr<DelaySource> Open(FileSystem& files, const config::v1::Delay& delay);

  // `random_seed` is used where the configuration has no seed.
  absl::Duration Draw(uint64_t random_seed) const;
  // As number `seed` of many draws it, counted from 1: of a trace, its line.
  absl::Duration DrawAs(uint64_t seed) const;

 private:
  DelaySource(config::v1::Delay delay, std::vector<absl::Duration> trace)
      : delay_(std::move(delay)), trace_(std::move(trace)) {}

  config::v1::Delay delay_;
  std::vector<absl::Duration> trace_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CONFIG_DELAY_H_
