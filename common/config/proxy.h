// A proxy in a configuration.
#ifndef HOMEWARD_COMMON_CONFIG_PROXY_H_
#define HOMEWARD_COMMON_CONFIG_PROXY_H_

#include <string>

#include "common/config/config.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {

// `key` is the proxy's, as in "azure.proxy". One that is absent is right.
void RequireProxy(const std::string& key, const config::v1::Proxy& proxy, ConfigProblems* problems);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CONFIG_PROXY_H_
