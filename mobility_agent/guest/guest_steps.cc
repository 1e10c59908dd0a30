#include "mobility_agent/guest/guest_steps.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log/log.h"
#include "common/problem/problem.h"
#include "mobility_agent/guest/boot_checks.h"
#include "mobility_agent/guest/debian_tools.h"
#include "mobility_agent/guest/network_step.h"

namespace homeward {
namespace {

constexpr absl::Duration kRetryDelay = absl::Seconds(10);
constexpr absl::Duration kRetryDelayMax = absl::Minutes(15);
constexpr absl::Duration kBootCheckInterval = absl::Hours(6);

}  // namespace

GuestWay WayOf(GuestLocation home, GuestLocation now) {
  if (now == home) return GuestWay::kHome;
  return now == GuestLocation::kAzure ? GuestWay::kAway : GuestWay::kStay;
}

GuestSteps::GuestSteps(FileSystem& files, Options options, GuestFiles machine,
                       std::unique_ptr<Commands> commands, std::unique_ptr<Strand> strand)
    : files_(files),
      options_(std::move(options)),
      machine_(std::move(machine)),
      commands_(std::move(commands)),
      retry_delay_(kRetryDelay),
      strand_(std::move(strand)) {
  // The network first: the others may need it.
  const GuestTools tools{machine_, *commands_};
  steps_.push_back(std::make_unique<NetworkStep>(tools));
  if (HasApt(machine_)) {
    steps_.push_back(std::make_unique<DebianTools>(tools));
  } else if (machine_.Exists("/usr/bin/vmtoolsd")) {
    LogWarn("guest.tools_not_handled",
            {{"why",
              "VMware Tools are here, and neither dpkg nor apt: remove them in Azure by "
              "hand, and install them again at home"}});
  }
  strand_->Post([this] { Attempt(); });
  strand_->Post([this] { CheckBoot(); });
}

GuestSteps::~GuestSteps() { strand_->Stop(); }

void GuestSteps::Attempt() {
  std::vector<types::v1::HealthIssue> issues = GoThrough();
  const bool done = issues.empty();
  {
    absl::MutexLock lock(&mutex_);
    step_issues_ = std::move(issues);
  }
  if (done) return;
  strand_->PostAfter(retry_delay_, [this] { Attempt(); });
  retry_delay_ = std::min(2 * retry_delay_, kRetryDelayMax);
}

std::vector<types::v1::HealthIssue> GuestSteps::GoThrough() {
  std::vector<types::v1::HealthIssue> issues;
  const auto failed = [&](const std::string& what, const absl::Status& why) {
    LogWarn("guest.step_failed", {{"step", what}, {"error", why}, {"next_try_in", retry_delay_}});
    issues.push_back(MakeIssue(
        types::v1::WARNING,
        absl::IsAlreadyExists(why) ? ProblemId::kGuestFilesChanged : ProblemId::kGuestStepFailed,
        absl::StrCat(what, ": ", why.message())));
  };
  const GuestLocation now = options_.location != GuestLocation::kOther
                                ? options_.location
                                : GuestLocationOf(machine_.Smbios());
  absl::StatusOr<absl::optional<GuestRecord>> read = ReadGuestRecord(files_, options_.record_path);
  if (!read.ok()) {
    failed("guest record", read.status());
    return issues;
  }
  GuestRecord record;
  const auto save = [&] {
    return WriteFileAtomically(files_, options_.record_path, EncodeGuestRecord(record));
  };
  if (!read->has_value()) {
    record.home = now;
    absl::Status saved = files_.MakeDirectories(ParentDirectory(options_.record_path));
    if (saved.ok()) saved = save();
    if (!saved.ok()) failed("guest record", saved);
    LogInfo("guest.home", {{"location", GuestLocationName(now)}});
    return issues;
  }
  record = **std::move(read);
  const GuestWay way = WayOf(record.home, now);
  if (way == GuestWay::kStay) {
    LogInfo("guest.elsewhere",
            {{"location", GuestLocationName(now)}, {"home", GuestLocationName(record.home)}});
    return issues;
  }
  for (const std::unique_ptr<GuestStep>& step : steps_) {
    const absl::Status gone = step->Go(way == GuestWay::kAway, &record, save);
    if (absl::IsCancelled(gone)) break;
    if (!gone.ok()) failed(step->name(), gone);
  }
  return issues;
}

void GuestSteps::CheckBoot() {
  const GuestLocation now = options_.location != GuestLocation::kOther
                                ? options_.location
                                : GuestLocationOf(machine_.Smbios());
  // There it has booted.
  if (now == GuestLocation::kAzure) return;
  std::vector<types::v1::HealthIssue> issues = BootWarnings(machine_, *commands_);
  {
    absl::MutexLock lock(&mutex_);
    boot_issues_ = std::move(issues);
  }
  strand_->PostAfter(kBootCheckInterval, [this] { CheckBoot(); });
}

std::vector<types::v1::HealthIssue> GuestSteps::issues() const {
  absl::MutexLock lock(&mutex_);
  std::vector<types::v1::HealthIssue> all = step_issues_;
  all.insert(all.end(), boot_issues_.begin(), boot_issues_.end());
  return all;
}

}  // namespace homeward
