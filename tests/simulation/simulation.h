// Simulation: the real shipper, relay and keeper of one machine in one thread, under virtual time,
// from a seed.
//
// Fault model: any node dies at any operation on its disk or at any moment, and comes back later
// (torn and lost unsynced writes as in MemoryDisk); a process server comes back with an empty disk
// or is replaced by another while the old one still runs; connections are cut; messages are
// delayed, or pass in one direction only; a batch arrives changed; a process server, the agent or
// the master target stands still, as with a slow disk; reads and syncs fail; a byte of a spool, of
// the recovery journal or of the replica changes at rest; a write to the journal is misdirected;
// the master target, a process server or the whole machine is reverted to a snapshot; the master
// target's disk is full for a while; wall clocks jump by an hour; the machine changes its
// generation and a copy of it streams on in the old one; the agent stops cleanly or dies while the
// machine goes on writing.
//
// Oracles: every point a keeper lists equals the source at that instant, byte for byte, seen as a
// view at any time and after a recovery at the end; what was durable once is there after every
// crash; damage of the recovery journal is refused, naming the file; the scrub finds a byte of the
// replica that changed; retention keeps what the policy keeps; no queue passes its bound; and when
// faults stop, all is drained.
#ifndef HOMEWARD_TESTS_SIMULATION_SIMULATION_H_
#define HOMEWARD_TESTS_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <set>
#include <string>

namespace homeward::simulation {

struct Outcome {
  bool ok = true;
  std::string failure;  // empty when ok
  // For showing that the run did something.
  uint64_t points = 0;
  uint64_t crashes = 0;
  uint64_t cuts = 0;
  uint64_t forged = 0;  // encrypted batches that somebody changed, or replaced
  uint64_t epochs = 0;
  uint64_t views_checked = 0;
  uint64_t ticks_with_data = 0;  // the agent kept writes with their data
  uint64_t ticks_degraded = 0;   // it could have, and remembered less
  uint64_t jobs = 0;
  uint64_t refusals = 0;
  uint64_t faults = 0;  // drawn, left out or not
};

// The same seed and options give the same run.
struct RunOptions {
  bool trace = false;  // print what happens, and look at every point after every event
  std::set<uint64_t> without_faults;  // by number: these are drawn and do not happen
};
Outcome Run(uint64_t seed, const RunOptions& options);

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_SIMULATION_H_
