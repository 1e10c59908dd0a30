// The shapes of arm.h as Azure has them in JSON.
#ifndef HOMEWARD_COMMON_AZURE_RESOURCES_H_
#define HOMEWARD_COMMON_AZURE_RESOURCES_H_

#include "common/azure/arm.h"
#include "common/azure/json.h"

namespace homeward::azure {

void Read(const Json& json, ResourceGroup& group);
void Read(const Json& json, Vm& vm);
void Read(const Json& json, VmInstance& instance);
void Read(const Json& json, VmSize& size);
void Read(const Json& json, Disk& disk);
void Read(const Json& json, Interface& interface);
void Read(const Json& json, Subnet& subnet);
void Read(const Json& json, Network& network);
void Read(const Json& json, StorageAccount& account);
void Read(const Json& json, AnyResource& resource);

Json ToJson(const VmSpec& spec);
Json ToJson(const DiskSpec& spec);
Json ToJson(const InterfaceSpec& spec);

}  // namespace homeward::azure

#endif  // HOMEWARD_COMMON_AZURE_RESOURCES_H_
