// The configuration of each daemon of a topology.
#ifndef HOMEWARD_DEPLOY_LAB_TOPOLOGY_CONFIG_FILES_H_
#define HOMEWARD_DEPLOY_LAB_TOPOLOGY_CONFIG_FILES_H_

#include <string>

#include "homeward/lab/v1/topology.pb.h"

namespace homeward::lab {

// Where things are. In each path "{host}" stands for the host's name.
struct Places {
  std::string state_root = "/var/lib/homeward";  // of a host; each daemon has a directory in it
  std::string enrolment_file = "/etc/homeward/enrolment";
  // Master targets: their directories, and where attached disks appear; empty: as it is by default.
  std::string directory_root = "/vmfs/volumes";
  std::string disk_links_directory;
  bool simulated_hardware = false;  // a master target's UUID is the topology's
  // Of Azure's storage account; empty: process servers know of none but what their configuration
  // says.
  std::string container_url, key_file, trusted_certificates_file;
};

constexpr int kConfigServerPort = 443;
constexpr int kProcessServerPort = 9443;
constexpr int kMasterTargetPort = 9444;

// Of a complete topology. What its daemons' configurations leave out is filled in, and what belongs
// to the experiment's clocks is divided by `time_scale`.
v1::ConfigFiles ConfigFilesOf(const v1::Topology& topology, const Places& places,
                              double time_scale);

}  // namespace homeward::lab

#endif  // HOMEWARD_DEPLOY_LAB_TOPOLOGY_CONFIG_FILES_H_
