#include "common/replica/replica_backend.h"

#include "common/replication/target.h"

namespace homeward {
namespace {

class NoBackend : public ReplicaBackend {
 public:
  absl::StatusOr<Opened> Open() override { return Refused(); }
  std::vector<std::string> Paths() const override { return {}; }
  absl::StatusOr<std::string> Stamp(int) override { return Refused(); }
  absl::Status Remove() override { return Refused(); }

 private:
  static absl::Status Refused() {
    return absl::FailedPreconditionError(
        "this server cannot write to a target of the kind that is wanted: upgrade it, or choose "
        "another target");
  }
};

}  // namespace

ReplicaBackend::Trouble ReplicaBackend::TroubleOf(const absl::Status& status) const {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return {ProblemId::kVolumeFull};
    case absl::StatusCode::kNotFound:
      return {ProblemId::kDatastoreLost};
    case absl::StatusCode::kUnavailable:
      return {ProblemId::kDiskNotAttached};
    case absl::StatusCode::kDataLoss:
      return {ProblemId::kReplicaDamaged, /*slow=*/true};
    case absl::StatusCode::kInvalidArgument:
      return {ProblemId::kReplicaFileWrong};
    case absl::StatusCode::kOutOfRange:
      return {ProblemId::kPointNotFound, /*slow=*/true};
    case absl::StatusCode::kFailedPrecondition:
      return {ProblemId::kReplicaUnsuitable, /*slow=*/true};
    default:
      return {ProblemId::kReplicaFailed};
  }
}

std::unique_ptr<ReplicaBackend> MakeBackend(const BackendTable& table, const BackendParts& parts,
                                            const control::v1::Replica& replica) {
  const auto it = table.find(TargetOf(replica).kind_case());
  std::unique_ptr<ReplicaBackend> backend;
  if (it != table.end()) backend = it->second(parts, replica);
  return backend != nullptr ? std::move(backend) : std::make_unique<NoBackend>();
}

}  // namespace homeward
