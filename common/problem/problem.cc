#include "common/problem/problem.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/problem/catalogue.h"

namespace homeward {
namespace {

constexpr size_t kMessageBytesMax = 2000;

struct Topic {
  const char* title;
  std::vector<ProblemEntry> entries;
};

const std::vector<Topic>& Topics() {
  static const auto& topics = *new std::vector<Topic>{
      {"Machines, points and jobs", MachineProblems()},
      {"Agents", AgentProblems()},
      {"Process servers and master targets", ServerProblems()},
      {"The configuration server", ConfigServerProblems()},
      {"vCenters and VMs", VcenterProblems()},
      {"Azure", AzureProblems()},
  };
  return topics;
}

const ProblemEntry& EntryOf(ProblemId id) {
  const std::vector<ProblemEntry>& catalogue = ProblemCatalogue();
  const auto found = std::find_if(catalogue.begin(), catalogue.end(),
                                  [&](const ProblemEntry& entry) { return entry.id == id; });
  HW_CHECK(found != catalogue.end());
  return *found;
}

// Whatever an operator typed may be in it, and all of it has to fit beside a status.
std::string Presentable(const std::string& message) {
  std::string shown;
  for (const char c : message) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppend(&shown, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      shown += c;
    }
  }
  if (shown.size() <= kMessageBytesMax) return shown;
  size_t end = kMessageBytesMax;
  while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xc0) == 0x80) --end;  // of UTF-8
  return absl::StrCat(shown.substr(0, end), "...");
}

}  // namespace

const std::vector<ProblemEntry>& ProblemCatalogue() {
  static const auto& catalogue = *[] {
    auto* all = new std::vector<ProblemEntry>;
    for (const Topic& topic : Topics())
      all->insert(all->end(), topic.entries.begin(), topic.entries.end());
    return all;
  }();
  return catalogue;
}

types::v1::Problem MakeProblem(ProblemId id, const std::string& message) {
  const ProblemEntry& entry = EntryOf(id);
  types::v1::Problem problem;
  problem.set_id(entry.name);
  problem.set_number(entry.number);
  problem.set_message(Presentable(message));
  for (const std::string& cause : entry.causes) problem.add_causes(cause);
  problem.set_action(entry.action);
  problem.set_retryable(entry.retryable);
  return problem;
}

types::v1::HealthIssue IssueOf(types::v1::Severity severity, types::v1::Problem problem) {
  types::v1::HealthIssue issue;
  issue.set_severity(severity);
  *issue.mutable_problem() = std::move(problem);
  return issue;
}

types::v1::HealthIssue MakeIssue(types::v1::Severity severity, ProblemId id,
                                 const std::string& message) {
  return IssueOf(severity, MakeProblem(id, message));
}

bool IsProblem(const types::v1::Problem& problem, ProblemId id) {
  return problem.id() == EntryOf(id).name;
}

std::string ProblemsPage() {
  std::string page =
      "# Problems\n\nWhat a component of Homeward refuses or says in its health, and what to do. "
      "Made "
      "from the catalogue in `common/problem`;\na test keeps the two equal. Where the original "
      "has a number, it is given. One name can stand for several cases, each with its own "
      "remedy.\n";
  for (const Topic& topic : Topics()) {
    absl::StrAppend(&page, "\n## ", topic.title, "\n");
    for (const ProblemEntry& entry : topic.entries) {
      absl::StrAppend(&page, "\n### ", entry.name,
                      entry.number == 0 ? "" : absl::StrCat(" (", entry.number, ")"),
                      entry.of.empty() ? "" : absl::StrCat(": ", entry.of),
                      "\n\nMeaning: ", entry.when,
                      ".\n\nLikely causes: ", absl::StrJoin(entry.causes, "; "),
                      ".\n\nWhat to do: ", entry.action,
                      entry.retryable ? "\n\nThe same request may succeed later.\n"
                                      : "\n\nTrying again without a change will not help.\n");
    }
  }
  return page;
}

}  // namespace homeward
