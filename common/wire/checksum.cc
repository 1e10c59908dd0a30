#include "common/wire/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace homeward {

#ifdef HOMEWARD_FUZZ
// A fuzzer that had to guess checksums would see nothing behind them.
uint64_t Checksum64(ConstBytes) { return 0; }
uint64_t Checksum64(ConstBytes, ConstBytes) { return 0; }
#else
uint64_t Checksum64(ConstBytes bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t Checksum64(ConstBytes first, ConstBytes second) {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, first.data(), first.size());
  XXH3_64bits_update(&state, second.data(), second.size());
  return XXH3_64bits_digest(&state);
}
#endif

std::string Digest128(ConstBytes bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  return std::string(reinterpret_cast<const char*>(canonical.digest), sizeof(canonical.digest));
}

}  // namespace homeward
