// Simulation: the real shipper, relay and keeper of one machine in one thread, under virtual time,
// from a seed.
//
// Fault model: any node dies at any operation on its disk or at any moment, and comes back later
// (torn and lost unsynced writes as in MemoryDisk); a process server comes back with an empty disk
// or is replaced by another while the old one still runs; connections are cut; messages are
// delayed; the master target's disk is full for a while; wall clocks jump by an hour; the machine
// changes its generation and a copy of it streams on in the old one; the agent stops cleanly or
// dies while the machine goes on writing.
//
// Oracles: every point a keeper lists equals the source at that instant, byte for byte, seen as a
// view at any time and after a recovery at the end; what was durable once is there after every
// crash; no queue passes its bound; and when faults stop, all is drained.
#ifndef HOMEWARD_TESTS_SIMULATION_SIMULATION_H_
#define HOMEWARD_TESTS_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <string>

namespace homeward::simulation {

struct Outcome {
  bool ok = true;
  std::string failure;  // empty when ok
  // For showing that the run did something.
  uint64_t points = 0;
  uint64_t crashes = 0;
  uint64_t cuts = 0;
  uint64_t epochs = 0;
  uint64_t views_checked = 0;
  uint64_t ticks_with_data = 0;  // the agent kept writes with their data
  uint64_t ticks_degraded = 0;   // it could have, and remembered less
  uint64_t jobs = 0;
  uint64_t refusals = 0;
};

// `trace`: print what happens. The same seed gives the same run.
Outcome Run(uint64_t seed, bool trace);

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_SIMULATION_H_
