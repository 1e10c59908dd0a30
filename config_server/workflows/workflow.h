// Workflows: what a job does, as a list of tasks. A task is called again and again until it says
// that it is done; all it changes is stored together with the job, so each call may be the first
// after a crash. It sends nothing: it changes what is desired and looks at what is observed.
#ifndef HOMEWARD_CONFIG_SERVER_WORKFLOWS_WORKFLOW_H_
#define HOMEWARD_CONFIG_SERVER_WORKFLOWS_WORKFLOW_H_

#include <vector>

#include "config_server/model/view.h"
#include "config_server/workflows/location.h"
#include "config_server/workflows/source.h"

namespace homeward {

struct TaskContext {
  const View& view;
  Location& location;
  Source& source;  // what the machine ran in when the job began
  storage::v1::Machine* machine;
  storage::v1::Job* job;
};

using TaskFunction = StepResult (*)(TaskContext&);

struct TaskSpec {
  const char* name;
  TaskFunction run;
  // The job can be cancelled while this task runs.
  bool cancellable = true;
};

struct Workflow {
  storage::v1::Operation operation;
  std::vector<TaskSpec> tasks;
  // State while it runs, and after it succeeded. UNSPECIFIED: unchanged.
  storage::v1::ProtectionState running = storage::v1::PROTECTION_STATE_UNSPECIFIED;
  storage::v1::ProtectionState succeeded = storage::v1::PROTECTION_STATE_UNSPECIFIED;
  // Called, like a task, after a failure or a cancellation, until it is done; then the machine is
  // back in the state before.
  TaskFunction undo = nullptr;
  // A machine that was unprotected before is forgotten with it, unless it is connected.
  bool forgets_unprotected = false;
  // It works on the machine's VM, also where its replica has none.
  bool on_vm = false;
  // It works where the machine's test failover is, whatever its replica has become.
  bool on_test = false;
};

// Every operation but OPERATION_UNSPECIFIED has one.
const Workflow& WorkflowOf(storage::v1::Operation operation);

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_WORKFLOWS_WORKFLOW_H_
