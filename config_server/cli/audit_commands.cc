// The group `audit`. The chain is checked here, not by the server that wrote it.
#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/audit/audit_chain.h"
#include "common/problem/problem.h"
#include "common/rpc/problem_status.h"
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/format.h"

namespace homeward {
namespace {

using admin::v1::AuditLine;
using admin::v1::AuditLines;
using admin::v1::AuditVerified;
using admin::v1::ListAuditRequest;
using admin::v1::ListAuditResponse;
using types::v1::AuditContent;
using types::v1::AuditEntry;
using Stub = AdminClient::Stub;

constexpr uint32_t kListed = 50;

absl::Status Broken(absl::string_view why) {
  return ToStatus(MakeProblem(ProblemId::kAuditBroken, std::string(why)),
                  absl::StatusCode::kDataLoss);
}

std::string OutcomeOf(const AuditContent& says) {
  switch (says.kind()) {
    case AuditContent::ASKED:
      return absl::StrCat(says.operation(), " ", says.request());
    case AuditContent::DONE:
      return absl::StrCat("done: ", says.asked(), says.job_id().empty() ? "" : ", job ",
                          says.job_id());
    case AuditContent::REFUSED:
      return absl::StrCat("refused: ", says.asked(), ", ", says.problem(),
                          says.problem().empty() ? "" : ": ", says.text());
    case AuditContent::RESTORED:
      return absl::StrCat("restored from ", says.text());
    default:
      return "written by a newer server";
  }
}

std::string FormatAudit(const AuditLines& log) {
  std::vector<std::vector<std::string>> rows = {{"NUMBER", "TIME", "WHO", "FROM", "WHAT"}};
  for (const AuditLine& line : log.lines()) {
    const AuditContent& says = line.says();
    rows.push_back({absl::StrCat(says.number()), FormatTime(says.time()), says.caller(),
                    says.address(), OutcomeOf(says)});
  }
  return FormatTable(rows);
}

std::string FormatVerified(const AuditVerified& verified) {
  if (verified.entries() == 0) return "There are no entries yet.\n";
  return absl::StrCat("The chain holds: ", verified.entries(), " entries.\n", "First  ",
                      verified.first(), "\nLast   ", verified.last(),
                      "\nNote the last one elsewhere; \"homeward audit verify --head\" asks for "
                      "it later.\n");
}

AuditLine LineOf(const AuditEntry& entry) {
  AuditLine line;
  *line.mutable_entry() = entry;
  // What cannot be read says nothing. Verify() finds that.
  (void)line.mutable_says()->ParseFromString(entry.content());
  return line;
}

// Calls `take` with every entry, in order. Returns the server's last answer.
absl::StatusOr<ListAuditResponse> ReadAll(
    Session& session, const std::function<absl::Status(const AuditEntry&)>& take) {
  ListAuditRequest request;
  request.set_from(1);
  while (true) {
    ListAuditResponse page;
    HW_RETURN_IF_ERROR(session.Call(&Stub::ListAudit, request, &page));
    for (const AuditEntry& entry : page.entries()) HW_RETURN_IF_ERROR(take(entry));
    if (page.entries().empty()) return page;
    const uint64_t last = LineOf(*page.entries().rbegin()).says().number();
    if (last < request.from()) return Broken("an entry cannot be read");
    request.set_from(last + 1);
  }
}

// A chain that is followed, and whether it has what somebody noted of it.
class Verifier {
 public:
  // `head` as FormatAuditHead() has it; empty: none was noted.
  explicit Verifier(std::string head) : head_(std::move(head)) {}

  absl::Status Take(const AuditEntry& entry) {
    const absl::StatusOr<AuditContent> says = chain_.Follow(entry);
    if (!says.ok()) return Broken(says.status().message());
    const std::string shown = FormatAuditHead(chain_.number(), chain_.hash());
    found_ = found_ || shown == head_;
    if (verified_.entries() == 0) verified_.set_first(shown);
    verified_.set_last(shown);
    verified_.set_entries(verified_.entries() + 1);
    return absl::OkStatus();
  }
  absl::StatusOr<AuditVerified> End() const {
    if (!head_.empty() && !found_) {
      return Broken(absl::StrCat("it has no entry ", head_, ": it ends with ", verified_.last(),
                                 ", and begins with ", verified_.first()));
    }
    return verified_;
  }
  const AuditChain& chain() const { return chain_; }

 private:
  const std::string head_;
  bool found_ = false;
  AuditChain chain_;
  AuditVerified verified_;
};

absl::StatusOr<AuditVerified> VerifyServer(Session& session, const std::string& head) {
  Verifier verifier(head);
  HW_ASSIGN_OR_RETURN(const ListAuditResponse end, ReadAll(session, [&](const AuditEntry& entry) {
                        return verifier.Take(entry);
                      }));
  const AuditChain& chain = verifier.chain();
  if (chain.number() != end.head_number() || chain.hash() != end.head_hash()) {
    return Broken(absl::StrCat("it ends with ", FormatAuditHead(chain.number(), chain.hash()),
                               ", and the server wrote ",
                               FormatAuditHead(end.head_number(), end.head_hash())));
  }
  return verifier.End();
}

absl::StatusOr<AuditVerified> VerifyFile(const std::string& text, const std::string& head) {
  Verifier verifier(head);
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    AuditLine read;
    ++number;
    if (!google::protobuf::util::JsonStringToMessage(std::string(line), &read).ok())
      return Broken(absl::StrCat("line ", number, " of the file is no entry"));
    HW_RETURN_IF_ERROR(verifier.Take(read.entry()));
    if (read.says().SerializeAsString() != LineOf(read.entry()).says().SerializeAsString())
      return Broken(absl::StrCat("line ", number, " of the file says what its entry does not say"));
  }
  return verifier.End();
}

void AddHead(CLI::App* command, std::string* head) {
  command->add_option("--head", *head, "an entry that it must have, as it was noted")
      ->type_name("NUMBER:HASH");
}

absl::Status Export(Session& session) {
  return ReadAll(session,
                 [](const AuditEntry& entry) {
                   std::string line;
                   google::protobuf::util::JsonPrintOptions options;
                   options.preserve_proto_field_names = true;
                   (void)google::protobuf::util::MessageToJsonString(LineOf(entry), &line, options);
                   std::printf("%s\n", line.c_str());
                   return absl::OkStatus();
                 })
      .status();
}

}  // namespace

void AddAuditCommands(CommandLine* line) {
  CLI::App* const audit = line->Group("audit", "who had what done, and proof that it is unchanged");
  ListAuditRequest* const request = line->New<ListAuditRequest>();
  request->set_count(kListed);
  CLI::App* const list =
      line->Add(audit, {"list", "list the newest entries", "audit list --count 20"},
                [request](Session& session) -> absl::Status {
                  ListAuditResponse response;
                  HW_RETURN_IF_ERROR(session.Call(&Stub::ListAudit, *request, &response));
                  AuditLines lines;
                  for (const AuditEntry& entry : response.entries())
                    *lines.add_lines() = LineOf(entry);
                  session.Print(lines, FormatAudit);
                  return absl::OkStatus();
                });
  list->add_option_function<uint32_t>(
      "--count", [request](uint32_t value) { request->set_count(value); },
      absl::StrCat("show at most this many, the newest (default: ", kListed, ")"));
  std::string* const head = line->New<std::string>();
  CLI::App* const verify = line->Add(
      audit, {"verify", "check that no entry was changed, taken out or put in", "audit verify"},
      [head](Session& session) -> absl::Status {
        HW_ASSIGN_OR_RETURN(const AuditVerified verified, VerifyServer(session, *head));
        session.Print(verified, FormatVerified);
        return absl::OkStatus();
      });
  AddHead(verify, head);
  FileContent* const file = line->New<FileContent>();
  std::string* const file_head = line->New<std::string>();
  CLI::App* const verify_file = line->AddLocal(
      audit,
      {"verify-file", "the same of a file that was exported; asks no server",
       "audit verify-file /root/audit.jsonl"},
      [file, file_head] {
        const absl::StatusOr<AuditVerified> verified = VerifyFile(file->text, *file_head);
        if (verified.ok()) {
          std::fputs(FormatVerified(*verified).c_str(), stdout);
        } else {
          std::fputs(FormatFailure(verified.status()).c_str(), stderr);
        }
        return static_cast<int>(ExitCodeOf(verified.status()));
      });
  AddFile(verify_file, "file", file, "what \"audit export\" printed")->required();
  AddHead(verify_file, file_head);
  line->Add(audit, {"export", "print every entry, one a line, as JSON", "audit export"}, Export);
}

}  // namespace homeward
