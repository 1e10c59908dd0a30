// Locations: the one of each kind that jobs work with.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATIONS_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATIONS_H_

#include <map>
#include <memory>

#include "config_server/workflows/location.h"

namespace homeward {

class Locations {
 public:
  // Both outlive it; null where there is none.
  Locations(Hypervisor* hypervisor, Cloud* cloud);
  // Every kind has one.
  Location& At(storage::v1::Location kind) const { return *all_.at(kind); }

 private:
  std::map<storage::v1::Location, std::unique_ptr<Location>> all_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_LOCATIONS_H_
