// Names that operators give to new VMs. Pure.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_VM_NAME_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_VM_NAME_H_

#include <string>

#include "config_server/model/refusal.h"

namespace homeward {

// Whether vSphere takes it, once "/", "\\" and "%" are written its way (vsphere::EncodeName).
Refusal CheckVmName(const std::string& name);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_VM_NAME_H_
