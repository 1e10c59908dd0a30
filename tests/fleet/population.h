// Population: many agents in one process, each with an identity of its own and a connection of its
// own, that register, report and come again as a mobility agent does. They have no disks.
#ifndef HOMEWARD_TESTS_FLEET_POPULATION_H_
#define HOMEWARD_TESTS_FLEET_POPULATION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "common/clock/clock.h"
#include "common/config/delay.h"
#include "common/control/enrolment.h"
#include "common/control/reconnect.h"
#include "common/exec/strand.h"
#include "common/os/file_system.h"
#include "homeward/config/v1/config.pb.h"
#include "tests/fleet/session_link.h"

namespace homeward {

// Agents that are alike, as `count` of this configuration: agent number n (from 1) is called
// <join.name>-<n>, has the state directory <state_directory>/<n>, and draws its registration delay
// as number n.
struct AgentClass {
  config::v1::AgentConfig config;
  uint64_t count = 0;
};

// What happened since the last PowerOn() or Mark(), of all agents.
struct FleetReport {
  uint64_t agents = 0;
  uint64_t registered = 0;  // have a session that the server took
  // Of each agent that registered since, from power-on or from the mark, in seconds; and how much
  // of that was its delay.
  std::vector<double> seconds;
  std::vector<double> delays;
  uint64_t attempts = 0;
  uint64_t heartbeats = 0;
  // Sessions that ended, by why: a problem's name, or a status code.
  std::map<std::string, uint64_t> ended;
  // Those that refused with a problem of the kind that a repetition does not cure, each with one.
  std::vector<std::string> need_a_human;
};

// Thread-safe.
class Population {
 public:
  // `files` and `clock` outlive it. INVALID_ARGUMENT: a trace file is wrong.
  static absl::StatusOr<std::unique_ptr<Population>> Make(FileSystem& files, const Clock& clock,
                                                          const std::vector<AgentClass>& classes);
  // Blocks until all sessions have ended.
  ~Population();

  // Enrols those that are not yet, really, as JoinFabric() does, `at_once` of them at a time.
  // Blocks.
  absl::Status Enrol(uint64_t at_once, const absl::Notification& stopping);
  // All machines boot now, with another boot id: who has a session loses it, and each agent
  // registers after its delay.
  void PowerOn();
  // Counts anew from now on. Who has a session keeps it.
  void Mark();
  FleetReport Report();

 private:
  struct Part;
  struct Agent {
    Part* part = nullptr;
    uint64_t number = 0;  // in its class, from 1
    JoinOptions joining;
    const DelaySource* delay = nullptr;
    Membership membership = {};
    TlsIdentity identity = {};
    control::v1::Registration registration = {};
    absl::Duration powered_on = {};
    absl::Duration waited = {};  // its delay, of this boot
    Reconnect reconnect;
    std::shared_ptr<SessionLink> link = nullptr;  // null: none
    uint64_t life = 0;     // of the session, or of the wait for it: what is of another one is over
    bool greeted = false;  // in this session
    absl::Duration heartbeat_interval = absl::Seconds(1);
    absl::Duration last_report = {};
    uint64_t revision = 0, reported_revision = 0;
    absl::Duration counted_from = {};
    double registered_after = -1;  // of FleetReport.seconds; less than 0: not yet
    std::string refused = {};      // with what; empty: not since it last registered
  };

  // Some of the agents, with a strand for what they do: one alone would be slower than a server.
  struct Part {
    std::vector<Agent*> agents;  // on the strand, as the next
    std::mt19937_64 random{std::random_device{}()};
    bool stopping = false;
    uint64_t sessions = 0;  // open ones
    uint64_t attempts = 0, heartbeats = 0;
    std::map<std::string, uint64_t> ended;
    std::unique_ptr<Strand> strand;
  };

  Population(FileSystem& files, const Clock& clock);
  // Counts anew, from `marked` on; zero: from each agent's power-on.
  static void Begin(Part* part, absl::Duration marked);
  void AddTo(FleetReport* report, const Part& part) const;
  void PowerOnAgent(Agent* agent);
  void Connect(Agent* agent);
  void Heard(Agent* agent, const control::v1::Down& down);
  void Ended(Agent* agent, const absl::Status& why);
  void Report(Agent* agent);
  // Reports again and again, as long as this session lasts.
  void KeepReporting(Agent* agent);
  // On the strand, unless the agent's life is another one by then.
  void After(absl::Duration delay, Agent* agent, void (Population::*what)(Agent*));

  FileSystem& files_;
  const Clock& clock_;
  std::vector<std::unique_ptr<DelaySource>> delays_;
  std::vector<std::unique_ptr<Agent>> agents_;  // each on its part's strand
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FLEET_POPULATION_H_
