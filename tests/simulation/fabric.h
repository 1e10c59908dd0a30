// The fabric under simulation: the configuration server's jobs with real agents, relays and
// replicas, whole machines going round the circle: protect, fail back, commit, reprotect.
//
// Each seed draws its topology (1 to 3 machines of 1 to 3 disks, 1 or 2 process servers and master
// targets), what its operator does, and its faults: the configuration server dies before or after
// any commit; any component dies at any operation on its disk, or stands still and goes on later;
// sessions and calls are cut, with messages that still arrive; datastores fill; a process server
// loses its disk; clocks jump by an hour; a copy that was left behind runs on, and comes back with
// its old agent; a machine is cloned with its agent's state, and both run: the clone asks for a
// session, and streams with all that its original was told but the fence.
//
// Oracles: what a failback hands over is the chosen point, byte for byte, and the latest point of a
// machine that could be stopped is not older than its stop; a replica has points of one copy only,
// and never a clone's; a clone is never taken for the machine, nor the machine for a clone;
// a handover is of a newer generation than any that was streamed; what was started, ended or
// refused stays so over crashes, and a refusal changes nothing; a machine that was booted is not
// replicated before its agent registers; when faults stop, every job ends and every machine can be
// protected, drained, and brought home equal to its source.
#ifndef HOMEWARD_TESTS_SIMULATION_FABRIC_H_
#define HOMEWARD_TESTS_SIMULATION_FABRIC_H_

#include <cstdint>

#include "tests/simulation/simulation.h"

namespace homeward::simulation {

// As Run().
Outcome RunFabric(uint64_t seed, const RunOptions& options);
// The same with a vCenter and one master target: most machines begin in VMs, and come home to them,
// or, where somebody deleted them, to new ones. The vCenter is away, does not answer, refuses
// steps, and does late what nobody waits for any more. Oracles beside the others: each disk is
// attached to the one place that the records say, and moved only when a record says so; no disk is
// taken from a master target that writes to it; a machine is not replicated to a VM that is on.
Outcome RunVcenterFabric(uint64_t seed, const RunOptions& options);
// The same with Azure: machines are protected to page blobs there, which real process servers keep,
// fail over, come home to the VM that they were, or to a new one, and are protected again; at times
// a copy is tested, or a migration completed. A process server dies at any request, before or after
// its effect; storage is away, throttled or loses a request; Azure is not reached, answers late,
// refuses steps before or after their effect, takes long, and makes VMs that do not start;
// strangers stand there under names that ours have or nearly have, with tags like ours. Oracles
// beside the others: the snapshots of every point, and every disk that is imported, are the source
// at that point; no two VMs of a machine are on, unless its source was said to be lost; only what a
// record names is made, and in the subnet that is meant; what the machine lives in is deleted by a
// commit and by nothing else; strangers stay as they are; whoever is left off is named by the job;
// and when faults stop, each machine goes to Azure and home once more, equal to its source, and
// leaves nothing there.
Outcome RunAzureFabric(uint64_t seed, const RunOptions& options);

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_FABRIC_H_
