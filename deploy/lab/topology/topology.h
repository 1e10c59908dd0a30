// What a topology file must hold, and what it leaves out.
#ifndef HOMEWARD_DEPLOY_LAB_TOPOLOGY_TOPOLOGY_H_
#define HOMEWARD_DEPLOY_LAB_TOPOLOGY_TOPOLOGY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "homeward/lab/v1/scenario.pb.h"
#include "homeward/lab/v1/topology.pb.h"

namespace homeward::lab {

// Pure, any thread. `name` is what the file is called in messages.

// The topology, complete: addresses of hosts, vCenters of VMs, settings of classes merged into
// their machines, machines with a count as one each. INVALID_ARGUMENT has every problem, one a
// line, as "NAME:LINE: key: text".
absl::StatusOr<v1::Topology> ReadTopology(const std::string& name, const std::string& text);

// The scenario, checked against the (complete) topology that it runs in. Errors as above.
absl::StatusOr<v1::Scenario> ReadScenario(const std::string& name, const std::string& text,
                                          const v1::Topology& topology);

// Which topology a scenario is made for. INVALID_ARGUMENT as above.
absl::StatusOr<std::string> TopologyOf(const std::string& name, const std::string& text);

// Whether a name is meant by a pattern in which "*" stands for any letters.
bool IsMeant(absl::string_view pattern, absl::string_view name);

}  // namespace homeward::lab

#endif  // HOMEWARD_DEPLOY_LAB_TOPOLOGY_TOPOLOGY_H_
