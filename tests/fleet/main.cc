// homeward-fleet: many agents in one process, for tests/fleet/fleet.py.
//
//   homeward-fleet COUNT:AGENT_CONF...
//
// Each is COUNT agents of that configuration, which is an agent's (deploy/config/agent.conf); of it
// `join`, `state_directory` and `registration.delay` are used. Takes commands from standard input,
// one a line, and answers each with one line of JSON: enrol, power_on, mark, report, quit.
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/config/config.h"
#include "common/config/delay.h"
#include "common/log/log.h"
#include "common/os/file_system.h"
#include "common/os/host.h"
#include "common/status/status_macros.h"
#include "common/tls/lean_connections.h"
#include "tests/fleet/population.h"

namespace homeward {
namespace {

constexpr uint64_t kEnrolAtOnce = 32;
constexpr uint64_t kAgentsMax = 100000;

void CheckClass(const google::protobuf::Message& message, ConfigProblems* problems) {
  const auto& config = static_cast<const config::v1::AgentConfig&>(message);
  RequireAddress("join.config_server", config.join().config_server(), problems);
  RequireAbsolutePath("join.enrolment_file", config.join().enrolment_file(), problems);
  RequireAbsolutePath("state_directory", config.state_directory(), problems);
  if (config.registration().has_delay())
    RequireDelay("registration.delay", config.registration().delay(), problems);
}

absl::StatusOr<AgentClass> ReadClass(absl::string_view argument) {
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(argument, absl::MaxSplits(':', 1));
  AgentClass read;
  if (!absl::SimpleAtoi(parts.first, &read.count) || read.count == 0 || read.count > kAgentsMax ||
      parts.second.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", argument, "\" is not COUNT:AGENT_CONF, with 1 to ", kAgentsMax));
  }
  HW_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(RealFileSystem(), parts.second, kMiB));
  HW_RETURN_IF_ERROR(ParseConfig(parts.second, text, CheckClass, &read.config));
  return read;
}

std::string Numbers(const std::vector<double>& numbers) {
  return absl::StrCat("[",
                      absl::StrJoin(numbers, ",",
                                    [](std::string* out, double number) {
                                      absl::StrAppendFormat(out, "%.3f", number);
                                    }),
                      "]");
}

// Names of problems, codes and machines have nothing that JSON would want escaped.
std::string Json(const FleetReport& report) {
  const std::string ended = absl::StrJoin(
      report.ended, ",", [](std::string* out, const std::pair<const std::string, uint64_t>& one) {
        absl::StrAppend(out, "\"", one.first, "\":", one.second);
      });
  const std::string people = absl::StrJoin(
      report.need_a_human, ",",
      [](std::string* out, const std::string& one) { absl::StrAppend(out, "\"", one, "\""); });
  return absl::StrCat("{\"agents\":", report.agents, ",\"registered\":", report.registered,
                      ",\"attempts\":", report.attempts, ",\"heartbeats\":", report.heartbeats,
                      ",\"ended\":{", ended, "},\"need_a_human\":[", people,
                      "],\"seconds\":", Numbers(report.seconds),
                      ",\"delays\":", Numbers(report.delays), "}");
}

absl::Status Obey(Population* population) {
  const absl::Notification stopping;  // whoever wants it to stop ends this process
  for (std::string command; std::getline(std::cin, command) && command != "quit";) {
    std::string answer = "{}";
    if (command == "enrol") {
      HW_RETURN_IF_ERROR(population->Enrol(kEnrolAtOnce, stopping));
    } else if (command == "power_on") {
      population->PowerOn();
    } else if (command == "mark") {
      population->Mark();
    } else if (command == "report") {
      answer = Json(population->Report());
    } else {
      return absl::InvalidArgumentError(absl::StrCat("there is no command \"", command, "\""));
    }
    std::cout << answer << std::endl;
  }
  return absl::OkStatus();
}

absl::Status Run(const std::vector<std::string>& arguments) {
  std::vector<AgentClass> classes;
  for (const std::string& argument : arguments) {
    HW_ASSIGN_OR_RETURN(AgentClass read, ReadClass(argument));
    classes.push_back(std::move(read));
  }
  const RealClock clock;
  HW_ASSIGN_OR_RETURN(const std::unique_ptr<Population> population,
                      Population::Make(RealFileSystem(), clock, classes));
  return Obey(population.get());
}

}  // namespace
}  // namespace homeward

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: homeward-fleet COUNT:AGENT_CONF...\n");
    return 2;
  }
  // Not as a daemon (TuneProcess): in one arena, memory of ten thousand connections that end and
  // begin is searched for again and again.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  homeward::UseLeanConnections();
  homeward::SetLogLevel(homeward::LogLevel::kWarn);
  const absl::Status ran = homeward::Run({argv + 1, argv + argc});
  if (!ran.ok()) std::fprintf(stderr, "homeward-fleet: %s\n", ran.ToString().c_str());
  return ran.ok() ? 0 : 1;
}
