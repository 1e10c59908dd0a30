// The catalogue: every reason for which the configuration server refuses, in one place. Printed the
// same way by the command line and the console; docs/problems.md is made from it.
#ifndef HOMEWARD_CONFIG_SERVER_MODEL_PROBLEMS_H_
#define HOMEWARD_CONFIG_SERVER_MODEL_PROBLEMS_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "homeward/types/v1/types.pb.h"

namespace homeward {

enum class ProblemId {
  kAgentNotRegistered,
  kAgentNotConnected,
  kNotInDatabase,
  kAmbiguousName,
  kWrongState,
  kJobRunning,
  kNotProtected,
  kHealthNotOk,
  kNoRecoveryPoint,
  kPointNotFound,
  kPointRequired,
  kPointNotOneInstant,
  kNotCommitted,
  kMachineRunning,
  kProcessServerDown,
  kCacheLow,
  kMasterTargetDown,
  kMasterTargetOsMismatch,
  kMasterTargetDiskLimit,
  kDatastoreNotAccessible,
  kBlockDeviceUnsuitable,
  kRetentionDriveUnsuitable,
  kVmNameExists,
  kDirectoryUnsuitable,
  kDiskUnknown,
  kDiskTooLarge,
  kSectorSizeUnsupported,
  kReplicaFailed,
  kJobNotCancellable,
  kJobCancelled,
  kRpoThreshold,
  kEnrolmentRefused,
  kForeignConfigServer,
  kAgentCloned,
  kCopyNotChosen,
  kVcenterUnknown,
  kVcenterExists,
  kVcenterDisconnected,
  kVcenterCertificate,
  kVcenterLogin,
  kVcenterReadOnlyAccount,
  kVmNotRecorded,
  kVmGone,
  kVmAmbiguous,
  kVmNotThatOne,
  kVmNameUnsuitable,
  kWaitedTooLong,
  kVmIsSource,
  kVmDisksChanged,
  kVmNotOff,
  kVmHasSnapshots,
  kMasterTargetHasSnapshots,
  kMasterTargetController,
  kMasterTargetEnableUuid,
  kDiskUuidClash,
  kDatastoreTypeUnsupported,
  kRawDeviceUnsupported,
  kDatastoreFull,
  kHostNotDiscovered,
  kVmPowerOnFailed,
  kOsNotSupportedForFailback,
  kHypervTarget,
  kNothingToRepair,
  kVsphereTaskFailed,
};

struct ProblemEntry {
  ProblemId id;
  const char* name;
  uint32_t number;  // the original's, 0 for none
  const char* when;
  std::vector<std::string> causes;
  const char* action;
  bool retryable;
};
const std::vector<ProblemEntry>& ProblemCatalogue();

// A problem of the catalogue; `message` says what is so in this case.
types::v1::Problem MakeProblem(ProblemId id, const std::string& message);
// docs/problems.md.
std::string ProblemsPage();

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_MODEL_PROBLEMS_H_
