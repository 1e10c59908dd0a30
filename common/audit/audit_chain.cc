#include "common/audit/audit_chain.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"
#include "common/tls/identity.h"
#include "google/protobuf/text_format.h"

namespace homeward {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using types::v1::AuditContent;
using types::v1::AuditEntry;

void RemoveSecrets(Message* message) {
  const Reflection& reflection = *message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* const field : fields) {
    if (field->options().GetExtension(types::v1::secret)) {
      reflection.ClearField(message, field);
    } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) {
      continue;
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(*message, field); ++i)
        RemoveSecrets(reflection.MutableRepeatedMessage(message, field, i));
    } else {
      RemoveSecrets(reflection.MutableMessage(message, field));
    }
  }
}

absl::StatusOr<AuditContent> ContentOf(const AuditEntry& entry, absl::string_view which) {
  AuditContent content;
  if (Digest(entry.content()) != entry.hash() || !content.ParseFromString(entry.content()) ||
      content.number() == 0)
    return absl::DataLossError(
        absl::StrCat(which, " was changed: its hash is not that of what it says"));
  return content;
}

}  // namespace

std::string AuditTextOf(const Message& request) {
  const std::unique_ptr<Message> shown(request.New());
  shown->CopyFrom(request);
  RemoveSecrets(shown.get());
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  printer.PrintToString(*shown, &text);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  // Strings are escaped, so a byte is a character.
  if (text.size() > kAuditRequestBytesMax) {
    text.resize(kAuditRequestBytesMax - 3);
    text += "...";
  }
  return text;
}

AuditEntry AuditChain::Append(AuditContent content) {
  content.set_number(++number_);
  content.set_previous(std::exchange(hash_, ""));
  AuditEntry entry;
  entry.set_content(content.SerializeAsString());
  hash_ = Digest(entry.content());
  entry.set_hash(hash_);
  return entry;
}

absl::StatusOr<AuditContent> AuditChain::Follow(const AuditEntry& entry) {
  const std::string which =
      number_ == 0 ? "the first entry" : absl::StrCat("the entry after ", number_);
  HW_ASSIGN_OR_RETURN(AuditContent content, ContentOf(entry, which));
  if (number_ != 0 && content.number() != number_ + 1) {
    return absl::DataLossError(
        absl::StrCat(which, " is number ", content.number(), ": entries were taken out or put in"));
  }
  if (number_ != 0 && content.previous() != hash_) {
    return absl::DataLossError(absl::StrCat("entry ", content.number(),
                                            " does not follow from entry ", number_,
                                            ": one of the two was replaced"));
  }
  number_ = content.number();
  hash_ = entry.hash();
  return content;
}

std::string FormatAuditHead(uint64_t number, absl::string_view hash) {
  return absl::StrCat(number, ":", absl::BytesToHexString(hash));
}

}  // namespace homeward
