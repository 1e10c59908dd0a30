// DataKey: what a machine encrypts the content of its stream with.
// docs/decisions/0020-sealed-path.md.
#ifndef HOMEWARD_COMMON_CIPHER_DATA_KEY_H_
#define HOMEWARD_COMMON_CIPHER_DATA_KEY_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace homeward {

inline constexpr size_t kDataKeyBytes = 32;

// Of one machine, for one of its generations at most. Never logged.
struct DataKey {
  uint64_t id = 0;     // random, not 0: it travels with what the key encrypted
  std::string secret;  // kDataKeyBytes
};

// What the end of a stream may open.
struct DataKeys {
  std::vector<DataKey> keys;
  // Whether it also takes what nobody encrypted: from a machine that does not, or did not until
  // now.
  bool takes_plain = true;
  // The machine's newest one that it was told of; 0 where there is no such thing.
  uint64_t generation = 0;

  const DataKey* Find(uint64_t id) const {
    const auto found =
        std::find_if(keys.begin(), keys.end(), [id](const DataKey& key) { return key.id == id; });
    return found == keys.end() ? nullptr : &*found;
  }
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CIPHER_DATA_KEY_H_
