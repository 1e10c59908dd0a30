// The catalogue's parts, one file each. problem.cc joins them.
#ifndef HOMEWARD_COMMON_PROBLEM_CATALOGUE_H_
#define HOMEWARD_COMMON_PROBLEM_CATALOGUE_H_

#include <vector>

#include "common/problem/problem.h"

namespace homeward {

// Machines, their points and jobs: what the configuration server refuses.
std::vector<ProblemEntry> MachineProblems();
// What an agent says of itself in its health.
std::vector<ProblemEntry> AgentProblems();
// Process servers, master targets, and the replicas that these keep.
std::vector<ProblemEntry> ServerProblems();
// The configuration server itself.
std::vector<ProblemEntry> ConfigServerProblems();
// vCenters, and the VMs in them.
std::vector<ProblemEntry> VcenterProblems();
// Azure, and machines that are replicated there or live there.
std::vector<ProblemEntry> AzureProblems();

}  // namespace homeward

#endif  // HOMEWARD_COMMON_PROBLEM_CATALOGUE_H_
