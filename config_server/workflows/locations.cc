#include "config_server/workflows/locations.h"

namespace homeward {

Locations::Locations(Hypervisor* hypervisor, Cloud* cloud) {
  all_[storage::v1::DATASTORE_DIRECTORY] = std::make_unique<DatastoreDirectory>();
  all_[storage::v1::ORIGINAL_VM] = std::make_unique<OriginalVm>(hypervisor);
  all_[storage::v1::ALTERNATE_VM] = std::make_unique<AlternateVm>(hypervisor);
  all_[storage::v1::AZURE_VM] = std::make_unique<AzureVm>(cloud);
}

}  // namespace homeward
