// The catalogue: every reason for which a component of Homeward refuses, or says that it is not
// well, in one place. The command line and the console print them the same way, docs/problems.md is
// made from them, and a lint refuses a problem that is made elsewhere.
//
// To add one: an id here, its entry in the file of its topic (catalogue.h), and
// `homeward-problems > docs/problems.md`.
#ifndef HOMEWARD_COMMON_PROBLEM_PROBLEM_H_
#define HOMEWARD_COMMON_PROBLEM_PROBLEM_H_

#include <string>
#include <vector>

#include "homeward/types/v1/types.pb.h"

namespace homeward {

// In the order of the entries. One id is one case: two that differ in causes or remedy are two
// ids, which may have one name on the wire.
enum class ProblemId {
  // Machines, their points and jobs.
  kAgentNotRegistered,
  kAgentNotConnected,
  kNotInDatabase,
  kServerNotInDatabase,
  kJobNotInDatabase,
  kAmbiguousName,
  kWrongState,
  kCannotEncrypt,
  kNotEncrypted,
  kJobRunning,
  kNotProtected,
  kHealthNotOk,
  kNoRecoveryPoint,
  kPointNotFound,
  kPointRequired,
  kPointNotOneInstant,
  kPolicyUnknown,
  kPolicyExists,
  kPolicyInUse,
  kPolicyBuiltIn,
  kPolicyInterval,
  kPolicyRetention,
  kGroupUnknown,
  kGroupExists,
  kGroupOfAnother,
  kGroupInterval,
  kGroupMixedOs,
  kGroupMasterTarget,
  kPlanUnknown,
  kPlanRunning,
  kPlanNotWaiting,
  kPlanRequired,
  kPlanLacksMember,
  kPlanRefused,
  kPlanScriptFailed,
  kPlanStepFailed,
  kCommonPointMissed,
  kNotCommitted,
  kMachineRunning,
  kDiskUnknown,
  kDiskNotProtectable,
  kNoDisk,
  kDiskTooLarge,
  kSectorSizeUnsupported,
  kOsNotSupportedForFailback,
  kHypervTarget,
  kRpoThreshold,
  kForeignConfigServer,
  kAgentCloned,
  kCopyNotChosen,
  kJobNotCancellable,
  kJobCancelled,
  kWaitedTooLong,
  // What an agent says of itself.
  kConfigServerUnreachable,
  kAgentCannotProtect,
  kDiskUnusable,
  kDiskAway,
  kDiskResized,
  kStreamRefused,
  kChangesWithoutData,
  kChangesCoarsened,
  kSynchronisationStandsStill,
  kMountDoesNotAnswer,
  kHookFailed,
  kAppConsistencyFailed,
  kGuestStepFailed,
  kGuestFilesChanged,
  kBootDependsOnDiskNames,
  kHypervDriversMissing,
  // Servers: the process server, the master target and the replicas that it keeps.
  kEnrolmentRefused,
  kEnrolmentOtherRole,
  kProcessServerDown,
  kCacheLow,
  kProcessorHigh,
  kMemoryHigh,
  kPendingHigh,
  kMasterTargetDown,
  kMasterTargetOsMismatch,
  kMasterTargetDiskLimit,
  kDatastoreNotAccessible,
  kDatastoreNotOffered,
  kDatastoreLost,
  kBlockDeviceUnsuitable,
  kRetentionDriveUnsuitable,
  kVmNameExists,
  kDirectoryUnsuitable,
  kPlaceNotChoosable,
  kVolumeFull,
  kDiskNotAttached,
  kReplicaDamaged,
  kReplicaFileWrong,
  kReplicaUnsuitable,
  kReplicaFailed,
  kReplicaChangedByItself,
  kOlderPointsDoubtful,
  // Replicas in Azure, which a process server keeps.
  kReplicaLostLease,
  kContainerNotReachable,
  kContainerMissing,
  kStorageAccessRefused,
  kStorageThrottled,
  kBlobUnsuitable,
  kBlobMetadataWrong,
  // vCenters and their VMs.
  kVcenterUnknown,
  kVcenterExists,
  kVcenterDisconnected,
  kVcenterCertificate,
  kVcenterLogin,
  kVcenterReadOnlyAccount,
  kVsphereTaskFailed,
  kVmNotRecorded,
  kNoVmToRepair,
  kVmGone,
  kVmAmbiguous,
  kVmNotThatOne,
  kVmNameUnsuitable,
  kVmIsSource,
  kVmDisksChanged,
  kVmNotOff,
  kVmHasSnapshots,
  kVmPowerOnFailed,
  kNothingToRepair,
  kHostNotDiscovered,
  kMasterTargetHasSnapshots,
  kMasterTargetController,
  kMasterTargetEnableUuid,
  kDiskUuidClash,
  kDatastoreTypeUnsupported,
  kRawDeviceUnsupported,
  kDatastoreFull,
  // Azure, and machines that are replicated there or live there.
  kAzureSiteUnknown,
  kAzureSiteExists,
  kAzureSiteInUse,
  kAzureSiteWrong,
  kAzureNotReached,
  kAzureLogin,
  kAzureTaskFailed,
  kAzureNoReceiver,
  kAzureSizeUnknown,
  kAzureNotOurs,
  kAzureVmGone,
  kAzureVmMoved,
  kMigrationCompleted,
  kProtectionDisabled,
  kSourceVmNotRunning,
  kAzureVmUnreachable,
  kDiskTooLargeForBlob,
  kTestSubnetUnsuitable,
  kTestFailoverLeft,
  kMigrationNotConfirmed,
  // The configuration server.
  kBackupsNotConfigured,
  kBackupFailed,
  kAuditBroken,
  kConfigServerIdentity,
  kForgottenGeneration,
};
inline constexpr ProblemId kProblemIdLast = ProblemId::kMigrationNotConfirmed;

struct ProblemEntry {
  ProblemId id;
  std::string name;     // on the wire: "NO_RECOVERY_POINT"
  uint32_t number = 0;  // the original's, 0 for none
  std::string of = {};  // which case it is, where several entries have one name
  std::string when;     // "the machine has no recovery point of the wanted kind"
  std::vector<std::string> causes;
  std::string action;
  bool retryable = false;  // the same request may succeed later without anybody doing anything
};
const std::vector<ProblemEntry>& ProblemCatalogue();

// A problem of the catalogue. `message` says what is so in this case; control characters in it are
// shown as escapes, and it is cut at 2,000 bytes, so that it fits beside a status.
types::v1::Problem MakeProblem(ProblemId id, const std::string& message);
// A problem as health tells it.
types::v1::HealthIssue IssueOf(types::v1::Severity severity, types::v1::Problem problem);
types::v1::HealthIssue MakeIssue(types::v1::Severity severity, ProblemId id,
                                 const std::string& message);
// Whether `problem`, of whatever component, has the name of `id`.
bool IsProblem(const types::v1::Problem& problem, ProblemId id);

// docs/problems.md.
std::string ProblemsPage();

}  // namespace homeward

#endif  // HOMEWARD_COMMON_PROBLEM_PROBLEM_H_
