// Reads what a PropertyCollector returns into objects.h.
#ifndef HOMEWARD_COMMON_VSPHERE_DECODE_H_
#define HOMEWARD_COMMON_VSPHERE_DECODE_H_

#include <pugixml.hpp>
#include <vector>

#include "common/vsphere/objects.h"

namespace homeward::vsphere {

// The properties asked for of each type. Ref types that are not among them are not followed.
struct TypeProperties {
  const char* type;
  std::vector<const char*> all;
  // Those whose change says that the object must be read again.
  std::vector<const char*> watched;
};
const std::vector<TypeProperties>& FollowedTypes();

// Puts an ObjectContent into the inventory, in place of what it had of the object. What the reply
// does not have (no right to see it, not set) stays empty. False for a type that is not followed.
bool DecodeObject(pugi::xml_node content, Inventory* inventory);

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_DECODE_H_
