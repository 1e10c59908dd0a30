// What of Operations is about the audit log.
#include "common/audit/audit_chain.h"

#include "absl/strings/str_cat.h"
#include "common/rpc/problem_status.h"
#include "common/status/status_macros.h"
#include "config_server/operations/operations.h"

namespace homeward {
namespace {

using types::v1::AuditContent;

// The message's text of that name; empty when it has no such field.
std::string TextOf(const google::protobuf::Message& message, const std::string& name) {
  const auto* const field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() ||
      field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING)
    return "";
  return message.GetReflection()->GetString(message, field);
}

std::string WhoIs(const Caller& caller) {
  return absl::StrCat(caller.role.has_value() ? RoleName(*caller.role) : "nobody", " ", caller.id);
}

}  // namespace

uint64_t Operations::AuditAsked(const Caller& caller, const google::protobuf::Message& request) {
  AuditContent content;
  content.set_kind(AuditContent::ASKED);
  content.set_caller(WhoIs(caller));
  content.set_address(caller.address);
  content.set_operation(request.GetDescriptor()->name());
  content.set_request(AuditTextOf(request));
  return brain_.audit().Append(std::move(content));
}

void Operations::AuditEnded(uint64_t asked, const Caller& caller,
                            const google::protobuf::Message& request,
                            const google::protobuf::Message& response, const absl::Status& done) {
  const std::string machine_id = TextOf(response, "machine_id");
  const bool has_job = response.GetDescriptor() == admin::v1::Job::descriptor();
  const std::string job_id = has_job ? TextOf(response, "id") : "";
  AuditContent content;
  content.set_asked(asked);
  content.set_caller(WhoIs(caller));
  content.set_address(caller.address);
  content.set_operation(request.GetDescriptor()->name());
  if (done.ok()) {
    content.set_kind(AuditContent::DONE);
    content.set_machine_id(machine_id);
    content.set_job_id(job_id);
    brain_.AddEvent(
        "operator.request", machine_id, job_id,
        absl::StrCat(content.operation(), " by ", WhoIs(caller), " from ", caller.address));
  } else {
    content.set_kind(AuditContent::REFUSED);
    if (const auto problem = ProblemOf(done)) content.set_problem(problem->id());
    content.set_text(std::string(done.message()));
  }
  brain_.audit().Append(std::move(content));
}

absl::Status Operations::DoOutside(const Caller& caller, const google::protobuf::Message& request,
                                   const google::protobuf::Message& response,
                                   const std::function<absl::Status()>& act) {
  uint64_t asked = 0;
  HW_RETURN_IF_ERROR(Ask(caller, [&] {
    asked = AuditAsked(caller, request);
    return absl::OkStatus();
  }));
  const absl::Status done = act();
  strand_.Run([&] { AuditEnded(asked, caller, request, response, done); });
  return done;
}

absl::Status Operations::ListAudit(const admin::v1::ListAuditRequest& request,
                                   admin::v1::ListAuditResponse* response) const {
  const AuditLog& log = brain_.audit();
  const size_t count = request.count() == 0 ? AuditLog::kReadMax : request.count();
  for (types::v1::AuditEntry& entry : log.Read(request.from(), count))
    *response->add_entries() = std::move(entry);
  response->set_head_number(log.chain().number());
  response->set_head_hash(log.chain().hash());
  return absl::OkStatus();
}

}  // namespace homeward
