// CloudState: what rules see of a site in Azure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_STATE_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "homeward/storage/v1/storage.pb.h"

namespace homeward {

// A VM that a machine lives in.
struct AzureVmState {
  // There is one of its name in its resource group.
  bool exists = false;
  // Resource id of one elsewhere in the subscription that has its tags. Empty: none is known.
  std::string moved_to;
  // As the instance view says: "running", "stopped", "deallocated", "starting", ... Empty: unknown.
  std::string power;
  absl::Time as_of;  // when it was seen so
};

struct CloudState {
  static constexpr absl::Duration kStaleFor = absl::Minutes(5);

  enum class Link {
    kConnected,
    kStale,        // not reached at the moment; the rest is of a while ago
    kDisconnected  // not reached for kStaleFor, or never
  };
  // How many data disks a VM of a size can have.
  using Sizes = std::map<std::string, uint32_t>;

  storage::v1::AzureSite site;
  Link link = Link::kDisconnected;
  absl::Time since;  // of `link`
  // Why it is not reached. Of one that is: what it names that is not there, so that nothing can be
  // made there.
  absl::Status error;
  std::shared_ptr<const Sizes> sizes;       // by name, of the region; null: not read yet
  std::map<std::string, AzureVmState> vms;  // by machine id, of those that were looked at
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_STATE_H_
