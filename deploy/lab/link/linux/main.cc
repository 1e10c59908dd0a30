// homeward-lab-link: the wire between two sites of the lab, which are network namespaces.
#include <signal.h>
#include <sys/signalfd.h>

#include <cstdio>

#include "absl/strings/match.h"
#include "common/clock/clock.h"
#include "common/log/log.h"
#include "common/os/posix/unique_fd.h"
#include "deploy/lab/link/flags.h"
#include "deploy/lab/link/linux/control_socket.h"
#include "deploy/lab/link/linux/relay.h"

namespace homeward {
namespace {

constexpr int kWrongConfig = 2;

int GiveOrderAndPrint(const LinkFlags& flags) {
  const absl::StatusOr<std::string> answer = GiveOrder(flags.config.control_socket(), flags.order);
  if (!answer.ok()) {
    std::fprintf(stderr, "%s\n", std::string(answer.status().message()).c_str());
    return 1;
  }
  std::printf("%s\n", answer->c_str());
  return absl::StartsWith(*answer, "{\"ok\":true") ? 0 : 1;
}

absl::Status Run(const lab::v1::LinkConfig& config) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const UniqueFd stop(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!stop.valid()) return absl::ErrnoToStatus(errno, "wait for signals");
  const RealClock clock;
  absl::StatusOr<std::unique_ptr<Relay>> relay = Relay::Open(config, clock);
  if (!relay.ok()) return relay.status();
  LogInfo("link.ready", {{"a", config.a().device()}, {"b", config.b().device()}});
  return (*relay)->Run(stop.get());
}

int Main(int argc, char** argv) {
  LinkFlags flags;
  if (const int code = ParseLinkFlags(argc, argv, &flags); code >= 0) return code;
  if (!flags.order.empty()) return GiveOrderAndPrint(flags);
  const absl::StatusOr<lab::v1::LinkConfig> config = ReadLinkConfig(flags);
  if (!config.ok()) {
    std::fprintf(stderr, "%s\n", std::string(config.status().message()).c_str());
    return kWrongConfig;
  }
  if (flags.check_only) {
    std::printf("OK\n");
    return 0;
  }
  const absl::Status status = Run(*config);
  if (!status.ok()) LogError("link.failed", {{"error", status}});
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace homeward

int main(int argc, char** argv) { return homeward::Main(argc, argv); }
