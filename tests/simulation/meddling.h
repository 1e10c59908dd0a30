// What somebody on the wire does to a batch.
#ifndef HOMEWARD_TESTS_SIMULATION_MEDDLING_H_
#define HOMEWARD_TESTS_SIMULATION_MEDDLING_H_

#include <random>
#include <string>
#include <utility>

#include "common/wire/change_batch.h"
#include "common/wire/checksum.h"

namespace homeward::simulation {

// Its checksum is what it was made for.
inline SealedBatch WithChecksum(std::string bytes) {
  const ConstBytes changed = AsBytes(bytes);
  std::string checksum;
  FieldWriter(&checksum).U64(Checksum64(changed.first(48), changed.subspan(kBatchHeaderBytes)));
  bytes.replace(48, checksum.size(), checksum);
  return SealedBatch(std::move(bytes));
}

// With another bit in its payload; half of them with the checksum of that. It came beside TLS.
inline SealedBatch WithAnotherBit(const SealedBatch& batch, std::mt19937_64* mischief) {
  const uint64_t payload_bytes = batch.size() - *BatchHeadBytes(batch);
  std::string bytes(batch.view());
  bytes[bytes.size() - 1 - (*mischief)() % payload_bytes] ^= 1;
  SealedBatch changed =
      (*mischief)() % 2 == 0 ? SealedBatch(std::move(bytes)) : WithChecksum(std::move(bytes));
  changed.SetUnchecked();
  return changed;
}

}  // namespace homeward::simulation

#endif  // HOMEWARD_TESTS_SIMULATION_MEDDLING_H_
