// AuditLog: who had what done, as a chain (common/audit/audit_chain.h). Entries are added and never
// changed; the oldest go when there are too many.
#ifndef HOMEWARD_CONFIG_SERVER_STORE_AUDIT_LOG_H_
#define HOMEWARD_CONFIG_SERVER_STORE_AUDIT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/audit/audit_chain.h"
#include "common/clock/clock.h"
#include "config_server/store/records.h"

namespace homeward {

// Must run on one strand.
class AuditLog {
 public:
  // About 60 MiB.
  static constexpr uint64_t kEntriesMax = 200'000;
  static constexpr size_t kReadMax = 1000;

  // Both outlive it.
  AuditLog(const Clock& clock, Records* records, uint64_t entries_max = kEntriesMax);

  // Durable on return, and in the server's own log, with its hash. Sets number, previous and time.
  // Returns its number.
  uint64_t Append(types::v1::AuditContent content);
  // At most `count` and at most kReadMax of those from `from` on; the newest where that is 0.
  std::vector<types::v1::AuditEntry> Read(uint64_t from, size_t count) const;
  // Its end.
  const AuditChain& chain() const { return chain_; }

 private:
  const Clock& clock_;
  Records& records_;
  const uint64_t entries_max_;
  AuditChain chain_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_STORE_AUDIT_LOG_H_
