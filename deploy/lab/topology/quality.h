// What topologies and scenarios both say.
#ifndef HOMEWARD_DEPLOY_LAB_TOPOLOGY_QUALITY_H_
#define HOMEWARD_DEPLOY_LAB_TOPOLOGY_QUALITY_H_

#include <string>

#include "common/config/config.h"
#include "homeward/lab/v1/topology.pb.h"

namespace homeward::lab {

// What is wrong with a link's properties.
void CheckQuality(const std::string& key, const v1::LinkDirection& quality,
                  ConfigProblems* problems);

}  // namespace homeward::lab

#endif  // HOMEWARD_DEPLOY_LAB_TOPOLOGY_QUALITY_H_
