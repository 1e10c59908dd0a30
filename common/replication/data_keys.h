// Data keys, as messages of the control protocol carry them. What is not a key is none.
#ifndef HOMEWARD_COMMON_REPLICATION_DATA_KEYS_H_
#define HOMEWARD_COMMON_REPLICATION_DATA_KEYS_H_

#include "absl/types/optional.h"
#include "common/cipher/data_key.h"
#include "homeward/control/v1/control.pb.h"

namespace homeward {

inline absl::optional<DataKey> DataKeyOf(const types::v1::DataKey& message) {
  if (message.id() == 0 || message.secret().size() != kDataKeyBytes) return absl::nullopt;
  return DataKey{message.id(), message.secret()};
}

inline DataKeys DataKeysOf(const control::v1::Replica& replica) {
  DataKeys out;
  out.takes_plain = !replica.refuses_plain();
  out.generation = replica.generation();
  for (const types::v1::DataKey& message : replica.data_keys()) {
    if (const absl::optional<DataKey> key = DataKeyOf(message); key.has_value())
      out.keys.push_back(*key);
  }
  return out;
}

}  // namespace homeward

#endif  // HOMEWARD_COMMON_REPLICATION_DATA_KEYS_H_
