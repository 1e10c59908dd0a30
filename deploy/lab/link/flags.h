// The command line of homeward-lab-link.
#ifndef HOMEWARD_DEPLOY_LAB_LINK_FLAGS_H_
#define HOMEWARD_DEPLOY_LAB_LINK_FLAGS_H_

#include <string>

#include "absl/status/statusor.h"
#include "homeward/lab/v1/link.pb.h"

namespace homeward {

struct LinkFlags {
  std::string config_path;
  bool check_only = false;
  std::string order;  // for the link that serves the control socket
  // Without a file: what each of them says of a key.
  lab::v1::LinkConfig config;
  std::string a_to_b, b_to_a, both;  // as in orders
};

// Returns the exit code when there is nothing to run, else -1.
int ParseLinkFlags(int argc, char** argv, LinkFlags* flags);

// The configuration, from the file or the flags, checked. INVALID_ARGUMENT lists what is wrong.
absl::StatusOr<lab::v1::LinkConfig> ReadLinkConfig(const LinkFlags& flags);

}  // namespace homeward

#endif  // HOMEWARD_DEPLOY_LAB_LINK_FLAGS_H_
