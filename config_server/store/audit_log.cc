#include "config_server/store/audit_log.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "common/log/log.h"
#include "common/wire/time_proto.h"

namespace homeward {
namespace {

using types::v1::AuditContent;
using types::v1::AuditEntry;

std::string KeyOf(uint64_t number) { return absl::StrFormat("%016d", number); }

AuditChain ChainOf(const Store& store) {
  const auto head = store.Get<storage::v1::AuditHead>(Store::kOnly);
  return head.has_value() ? AuditChain(head->number(), head->hash()) : AuditChain();
}

}  // namespace

AuditLog::AuditLog(const Clock& clock, Records* records, uint64_t entries_max)
    : clock_(clock),
      records_(*records),
      entries_max_(entries_max),
      chain_(ChainOf(records_.store())) {}

uint64_t AuditLog::Append(AuditContent content) {
  *content.mutable_time() = ToProto(clock_.Now());
  const AuditEntry entry = chain_.Append(content);
  const uint64_t number = chain_.number();
  storage::v1::AuditHead head;
  head.set_number(number);
  head.set_hash(chain_.hash());
  Store::Transaction transaction;
  transaction.Put(KeyOf(number), entry);
  transaction.Put(Store::kOnly, head);
  if (number > entries_max_) transaction.Remove<AuditEntry>(KeyOf(number - entries_max_));
  records_.Commit(transaction);
  LogInfo("audit", {{"entry", FormatAuditHead(number, chain_.hash())},
                    {"kind", AuditContent::Kind_Name(content.kind())},
                    {"caller", content.caller()},
                    {"address", content.address()},
                    {"operation", content.operation()},
                    {"request", content.request()},
                    {"asked", content.asked()},
                    {"text", content.text()}});
  return number;
}

std::vector<AuditEntry> AuditLog::Read(uint64_t from, size_t count) const {
  const uint64_t oldest = chain_.number() > entries_max_ ? chain_.number() - entries_max_ + 1 : 1;
  count = std::min(count, kReadMax);
  if (from == 0) from = chain_.number() > count ? chain_.number() - count + 1 : 1;
  std::vector<AuditEntry> entries;
  for (uint64_t number = std::max(from, oldest);
       number <= chain_.number() && entries.size() < count; ++number) {
    std::optional<AuditEntry> entry = records_.store().Get<AuditEntry>(KeyOf(number));
    // One that is missing is left out: whoever checks the chain sees that.
    if (entry.has_value()) entries.push_back(*std::move(entry));
  }
  return entries;
}

}  // namespace homeward
