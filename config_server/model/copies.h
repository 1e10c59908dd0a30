// Copies: which copy of a machine is the machine. One host id can be in several: a VM was cloned
// with its agent's state. Pure: no I/O, no change but to the record that is given.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_COPIES_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_COPIES_H_

#include <string>

#include "config_server/model/view.h"

namespace homeward {

// What a registration says of the copy that it comes from; its start and its address are not in it.
storage::v1::Incarnation IncarnationOf(const storage::v1::Registration& registration);
// For operators: "web-1 (hardware UUID ..., boot ..., from ...)".
std::string DescribeCopy(const storage::v1::Incarnation& copy);
// A boot of a copy, and a start of its agent in it.
bool SameIncarnation(const storage::v1::Incarnation& a, const storage::v1::Incarnation& b);

struct CopyVerdict {
  enum class Kind {
    kSame,   // the one that was admitted last
    kNext,   // admit it in its place: nobody else can be meant
    kAsk,    // admit it when the session of the one before has ended or does not answer
    kLater,  // come again
    kClone,  // refuse it
  };
  Kind kind = Kind::kSame;
  std::string why;  // of kLater and kClone, for operators
};
// Whether `copy`, whose agent has run since `started` (Clock::Monotonic()), is the machine. What
// left the machine behind at a failback must have been refused before.
//
// A machine boots again: another boot id. Its agent starts again. It runs elsewhere after a
// failback: nothing is as it was. It is registered in its vCenter again: another hardware UUID, the
// same disks, and the VM of before is gone. All else is a clone, until an operator says otherwise.
CopyVerdict JudgeCopy(const View& view, const storage::v1::Machine& machine,
                      const storage::v1::Incarnation& copy, absl::Duration started);

// From now on `copy` is the machine.
void AdmitCopy(const storage::v1::Incarnation& copy, storage::v1::Machine* machine);
// It was refused. False: it was before.
bool NoteRefusedCopy(const storage::v1::Incarnation& copy, storage::v1::Machine* machine);

// What the streams of the copy that is the machine carry: another number for each incarnation that
// was admitted, the same after a restart of this server. 0: its agent knows no fences.
uint64_t FenceOf(const storage::v1::Machine& machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_COPIES_H_
