// The kinds of network configuration: what their files say, and what is written for DHCP. Pure.
#ifndef HOMEWARD_MOBILITY_AGENT_GUEST_NETWORK_TEXTS_H_
#define HOMEWARD_MOBILITY_AGENT_GUEST_NETWORK_TEXTS_H_

#include <string>
#include <vector>

namespace homeward {

using Texts = std::vector<std::string>;  // of files, whole
using Interfaces = std::vector<std::string>;

// interfaces(5): the interfaces that the files configure, without the loopback.
Interfaces IfupdownInterfaces(const Texts& texts);
// Whether the files give each of `interfaces` an address by DHCP, and none another one. When in
// doubt, no.
bool IfupdownServes(const Texts& texts, const Interfaces& interfaces);
bool NetworkdServes(const Texts& texts, const Interfaces& interfaces);
bool NetplanServes(const Texts& texts, const Interfaces& interfaces);

// A whole configuration: DHCP on each of `interfaces`.
std::string IfupdownDhcp(const Interfaces& interfaces);
std::string NetworkdDhcp(const Interfaces& interfaces);
std::string NetplanDhcp(const Interfaces& interfaces);

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_GUEST_NETWORK_TEXTS_H_
