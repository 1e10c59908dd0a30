#include "common/os/host.h"

#include <ifaddrs.h>
#include <malloc.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"

namespace homeward {
namespace {

std::string Slurp(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return std::string(absl::StripAsciiWhitespace(out.str()));
}

std::string OsName() {
  for (absl::string_view line : absl::StrSplit(Slurp("/etc/os-release"), '\n')) {
    if (!absl::ConsumePrefix(&line, "PRETTY_NAME=")) continue;
    absl::ConsumePrefix(&line, "\"");
    absl::ConsumeSuffix(&line, "\"");
    return std::string(line);
  }
  return "Linux";
}

uint64_t MemInfo(absl::string_view key) {
  for (const absl::string_view line : absl::StrSplit(Slurp("/proc/meminfo"), '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kib = 0;
    if (words.size() >= 2 && words[0] == key && absl::SimpleAtoi(words[1], &kib)) return kib;
  }
  return 0;
}

// Ethernet addresses, each once, those of the interfaces that the kernel made first before others:
// a host of many containers has hundreds.
std::vector<std::string> MacAddresses() {
  constexpr size_t kAddressesMax = 64;
  std::vector<std::string> found;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* one = all; one != nullptr && found.size() < kAddressesMax;
       one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_PACKET) continue;
    sockaddr_ll address = {};
    std::memcpy(&address, one->ifa_addr, sizeof(address));
    if (address.sll_hatype != ARPHRD_ETHER || address.sll_halen != ETH_ALEN) continue;
    std::string mac = absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(address.sll_addr), ETH_ALEN));
    if (mac.find_first_not_of('0') != mac.npos &&
        std::find(found.begin(), found.end(), mac) == found.end())
      found.push_back(std::move(mac));
  }
  ::freeifaddrs(all);
  return found;
}

}  // namespace

HostFacts ReadHostFacts() {
  HostFacts facts;
  char name[256] = "";
  ::gethostname(name, sizeof(name) - 1);
  facts.name = name;
  facts.boot_id = Slurp("/proc/sys/kernel/random/boot_id");
  facts.hardware_uuid = absl::AsciiStrToLower(Slurp("/sys/class/dmi/id/product_uuid"));
  facts.os_name = OsName();
  const std::string uptime_text = Slurp("/proc/uptime");
  const std::vector<absl::string_view> uptime = absl::StrSplit(uptime_text, ' ');
  double seconds = 0;
  if (absl::SimpleAtod(uptime[0], &seconds)) facts.uptime = absl::Seconds(seconds);
  facts.mac_addresses = MacAddresses();
  return facts;
}

HostLoad ReadHostLoad() {
  HostLoad load;
  double average = 0;
  const std::string load_text = Slurp("/proc/loadavg");
  const std::vector<absl::string_view> words = absl::StrSplit(load_text, ' ');
  if (absl::SimpleAtod(words[0], &average))
    load.cpu_percent = 100 * average / std::max(1u, std::thread::hardware_concurrency());
  const double total = static_cast<double>(MemInfo("MemTotal:"));
  if (total > 0)
    load.memory_percent = 100 * (total - static_cast<double>(MemInfo("MemAvailable:"))) / total;
  return load;
}

void TuneProcess() {
#ifdef __GLIBC__
  // Batches of a mebibyte come and go: fresh pages for each of them cost a quarter of the
  // throughput (docs/performance.md), arenas that do not share them cost memory.
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
#ifdef NDEBUG
  // Debian compiles Abseil so that each lock under another one is looked at for deadlocks to come,
  // gRPC's too. The sanitizers' builds leave it on.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

absl::Duration ProcessAge() {
  // proc(5): what follows the command's name, which may have spaces, begins with field 3; 22 is the
  // start, in ticks since the boot.
  constexpr size_t kStartField = 22 - 3;
  const std::string stat = Slurp("/proc/self/stat"), up = Slurp("/proc/uptime");
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(stat).substr(stat.rfind(')') + 2), ' ');
  const std::vector<absl::string_view> times = absl::StrSplit(up, ' ');
  double ticks = 0, uptime = 0;
  if (fields.size() <= kStartField || !absl::SimpleAtod(fields[kStartField], &ticks) ||
      !absl::SimpleAtod(times[0], &uptime)) {
    return absl::ZeroDuration();
  }
  const double age = uptime - ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return absl::Seconds(std::max(age, 0.0));
}

uint64_t PeakResidentBytes() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

std::string RandomUuid() {
  uuid_t uuid;
  uuid_generate_random(uuid);
  char text[UUID_STR_LEN];
  uuid_unparse_lower(uuid, text);
  return text;
}

std::string RandomHexId() { return absl::StrReplaceAll(RandomUuid(), {{"-", ""}}); }

bool ErrorOutputIsTerminal() { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace homeward
