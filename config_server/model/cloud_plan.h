// What to do next in Azure to bring about a move, from what is there. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_PLAN_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_PLAN_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config_server/model/cloud_move.h"
#include "config_server/model/refusal.h"

namespace homeward {

inline constexpr char kTagConfigServer[] = "homeward-config-server";
inline constexpr char kTagMachine[] = "homeward-machine";
inline constexpr char kTagGeneration[] = "homeward-generation";

using CloudTags = std::map<std::string, std::string>;
// What is made for the machine by this configuration server has these, and is known by them.
CloudTags TagsOf(const std::string& config_server_id, const std::string& machine_id,
                 uint64_t generation);

// What Azure has under the names of a move.
struct CloudSeen {
  struct Resource {
    CloudTags tags;
    std::string provisioning;  // "Succeeded", "Failed", "Creating", ...
    std::string used_by;       // name of the VM that has it; empty: none
  };
  struct Vm : Resource {
    std::string power;  // as in AzureVmState
  };
  std::optional<Vm> vm;
  std::optional<Resource> nic;
  std::vector<std::optional<Resource>> disks;  // as many as the move has
};

struct CloudStep {
  enum class Kind {
    kReached,
    kRefused,
    kAwait,  // Azure is at work on it: look again
    kCreateDisk,
    kCreateNic,
    kCreateVm,
    kPowerOff,
    kDeallocate,
    kStart,
    kDeleteVm,
    kDeleteNic,
    kDeleteDisk
  };
  Kind kind = Kind::kReached;
  size_t disk = 0;  // for kCreateDisk and kDeleteDisk
  types::v1::Problem problem;
  std::string detail;             // what it waits for
  std::vector<std::string> kept;  // of a kDelete: what is left, each with why
};

// `ours`: the tags that what it made has. What has others is never changed.
CloudStep NextStep(const CloudMove& move, const CloudTags& ours, const CloudSeen& seen);

// "web-1: import disk web-1-0a1b2c3d-g4-disk0".
std::string Describe(const CloudMove& move, const CloudStep& step);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_CLOUD_PLAN_H_
