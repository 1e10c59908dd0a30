// One machine's agent and two process servers that keep it in the page blobs of a modelled
// container, one of them at a time, as in simulation.h.
//
// Fault model: a process server dies at any request to Azure, just before it has its effect or just
// after, and comes back; the other one takes the replica over, also between two requests of the
// first, which is not told and goes on with what it has, and with what still arrives at it; one
// that was told long ago takes it, and leaves it or dies without a word; requests are throttled, or
// fail, with their effect or without; connections are cut; the agent dies, or stops cleanly, while
// the machine goes on writing. In every fourth run the machine encrypts, and somebody is on the
// wire: he changes a batch beside TLS now and then, or in every second of these runs each one, to
// the end.
//
// Oracles: the snapshots of every point that a process server lists equal the source at that
// instant, byte for byte; what was durable, and what was listed and not dropped, is there however
// the replica is opened next; no snapshot is of no point; and when faults stop, all is drained and
// the blobs are the source. Nothing that was changed on the wire is taken, or costs a comparison.
#ifndef HOMEWARD_TESTS_SIMULATION_BLOB_CLUSTER_H_
#define HOMEWARD_TESTS_SIMULATION_BLOB_CLUSTER_H_

#include "tests/simulation/simulation.h"

namespace homeward::simulation {

Outcome RunBlobs(uint64_t seed, const RunOptions& options);

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_BLOB_CLUSTER_H_
