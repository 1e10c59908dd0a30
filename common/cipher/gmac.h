// Gmac: tags of bytes, which who does not have the key cannot make (AES-256-GMAC, NIST SP 800-38D).
#ifndef HOMEWARD_COMMON_CIPHER_GMAC_H_
#define HOMEWARD_COMMON_CIPHER_GMAC_H_

#include <array>
#include <cstdint>
#include <memory>

#include "common/base/bytes.h"

namespace homeward {

inline constexpr size_t kGmacKeyBytes = 32;
inline constexpr size_t kTagBytes = 16;
using Tag = std::array<uint8_t, kTagBytes>;

// One message at a time: Begin(), Add() for each part of it, End(). Not thread-safe.
class Gmac {
 public:
  // Requires: kGmacKeyBytes.
  explicit Gmac(ConstBytes key);
  ~Gmac();
  Gmac(const Gmac&) = delete;
  Gmac& operator=(const Gmac&) = delete;

  // Where somebody sees the tags, no two messages under a key have one number: who has two such
  // tags can make others.
  void Begin(uint64_t number);
  void Add(ConstBytes part);
  Tag End();

 private:
  struct Context;
  const std::unique_ptr<Context> context_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_CIPHER_GMAC_H_
