// This host and this process, as the operating system tells.
#ifndef HOMEWARD_COMMON_OS_HOST_H_
#define HOMEWARD_COMMON_OS_HOST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace homeward {

struct HostFacts {
  std::string name;
  std::string boot_id;        // another one after each boot
  std::string hardware_uuid;  // SMBIOS; empty when it cannot be read
  std::string os_name;        // "Debian GNU/Linux 12 (bookworm)"
  absl::Duration uptime;
  // Of its network cards: 12 hex digits in lower case. Not those of a loopback.
  std::vector<std::string> mac_addresses;
};
HostFacts ReadHostFacts();

struct HostLoad {
  double cpu_percent = 0;     // of all processors, over one minute
  double memory_percent = 0;  // that programs could not have
};
HostLoad ReadHostLoad();

// Sets a process up for moving bulk data: memory of batches is used again instead of given back,
// as many descriptors as the system allows (each stream and each peer that stalls is one), and
// locks that cost no more than locking. Call it first.
void TuneProcess();
// Since this process began.
absl::Duration ProcessAge();
// Peak resident memory of this process.
uint64_t PeakResidentBytes();
// A random UUID (RFC 4122, version 4), as "f81d4fae-7dec-41d0-a765-00a0c91e6bf6".
std::string RandomUuid();
// The same without the dashes: 32 hex digits in lower case, as Homeward's ids are.
std::string RandomHexId();

// Whether a person looks at what is printed as errors.
bool ErrorOutputIsTerminal();

}  // namespace homeward

#endif  // HOMEWARD_COMMON_OS_HOST_H_
