// Rules: what may be done with a machine now, and why not. Pure: no I/O, no change.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_RULES_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_RULES_H_

#include "config_server/model/operation.h"
#include "config_server/model/refusal.h"
#include "config_server/model/view.h"

namespace homeward {

// This boot of a copy of the machine is over: it is not taken for the machine any more.
void Retire(const std::string& boot_id, storage::v1::Machine* machine);

// That this server was not restored from a backup older than what became of the machine.
Refusal CheckRemembered(const View& view, const storage::v1::Machine& machine);
// Whether `operation` may start. Beyond the state: no other job, and the operation's own rules.
Refusal CheckOperation(const View& view, const storage::v1::Machine& machine,
                       storage::v1::Operation operation);
// A machine that booted and whose agent has not registered since, or has no session.
Refusal CheckAgent(const View& view, const storage::v1::Machine& machine);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_RULES_H_
