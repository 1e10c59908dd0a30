// The audit log as a chain: each entry names the hash of the one before, so none can be changed,
// taken out or put in without all behind it. Format: docs/formats/audit_log.md.
#ifndef HOMEWARD_COMMON_AUDIT_AUDIT_CHAIN_H_
#define HOMEWARD_COMMON_AUDIT_AUDIT_CHAIN_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "homeward/types/v1/audit.pb.h"

namespace homeward {

constexpr size_t kAuditRequestBytesMax = 2048;

// The fields of a request on one line, without what is marked as secret.
std::string AuditTextOf(const google::protobuf::Message& request);

// The end of a chain, or of the part of it that was looked at. Not thread-safe.
class AuditChain {
 public:
  // Goes on behind the entry that has these, where there is one.
  explicit AuditChain(uint64_t number = 0, std::string hash = "")
      : number_(number), hash_(std::move(hash)) {}

  // The next entry: gives the content its number and the hash before it.
  types::v1::AuditEntry Append(types::v1::AuditContent content);
  // Takes an entry that was read. The first may be any, since the oldest are dropped. DATA_LOSS,
  // naming the entry: it is not the one that followed, or was changed.
  absl::StatusOr<types::v1::AuditContent> Follow(const types::v1::AuditEntry& entry);

  uint64_t number() const { return number_; }  // of the last entry. 0: there is none
  const std::string& hash() const { return hash_; }

 private:
  uint64_t number_;
  std::string hash_;
};

// "12:4f5c…", as operators note it: the number and the hash of an entry.
std::string FormatAuditHead(uint64_t number, absl::string_view hash);

}  // namespace homeward

#endif  // HOMEWARD_COMMON_AUDIT_AUDIT_CHAIN_H_
