// DesiredState: what each component is to do, computed from the records alone.
#ifndef HOMEWARD_CONFIG_SERVER_JOBS_DESIRED_STATE_H_
#define HOMEWARD_CONFIG_SERVER_JOBS_DESIRED_STATE_H_

#include <map>
#include <set>
#include <string>

#include "config_server/fleet/fleet.h"
#include "config_server/jobs/common_points.h"
#include "config_server/store/records.h"

namespace homeward {

// Must run on one strand.
class DesiredState {
 public:
  // All outlive it.
  DesiredState(const Records* records, Fleet* fleet, const CommonPoints* common_points)
      : records_(*records), fleet_(*fleet), common_points_(*common_points) {}

  // Has the fleet want what follows from the changes, and costs what they touch.
  void Update(const Records::Changes& changes);

 private:
  using Ids = std::set<std::string>;
  void UpdateAgent(const std::string& machine_id);
  void UpdateServer(const std::string& host_id);

  const Records& records_;
  Fleet& fleet_;
  const CommonPoints& common_points_;
  std::map<std::string, Ids> servers_of_;   // by machine: those that it was last assigned to
  std::map<std::string, Ids> machines_of_;  // the other way round
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_JOBS_DESIRED_STATE_H_
