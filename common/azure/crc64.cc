#include "common/azure/crc64.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include <array>
#include <cstring>

namespace homeward::azure {
namespace {

constexpr uint64_t kPolynomial = 0x9a6c9329ac4bc9b5;  // its bits from the other end
constexpr size_t kStep = 16;                          // bytes at once

using Table = std::array<uint64_t, 256>;

// Of a byte that so many others follow.
constexpr std::array<Table, kStep> MakeTables() {
  std::array<Table, kStep> tables{};
  for (uint64_t byte = 0; byte < 256; ++byte) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t behind = 1; behind < kStep; ++behind) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint64_t before = tables[behind - 1][byte];
      tables[behind][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr std::array<Table, kStep> kTables = MakeTables();

// Eight bytes, the first of which `Behind` others of the step follow.
template <size_t Behind>
uint64_t Fold(uint64_t bytes) {
  return kTables[Behind][bytes & 0xff] ^ kTables[Behind - 1][(bytes >> 8) & 0xff] ^
         kTables[Behind - 2][(bytes >> 16) & 0xff] ^ kTables[Behind - 3][(bytes >> 24) & 0xff] ^
         kTables[Behind - 4][(bytes >> 32) & 0xff] ^ kTables[Behind - 5][(bytes >> 40) & 0xff] ^
         kTables[Behind - 6][(bytes >> 48) & 0xff] ^ kTables[Behind - 7][bytes >> 56];
}

// `crc` and what it returns: not inverted.
uint64_t ByTables(uint64_t crc, absl::string_view content) {
  while (content.size() >= kStep) {
    uint64_t low = 0, high = 0;
    std::memcpy(&low, content.data(), sizeof(low));
    std::memcpy(&high, content.data() + sizeof(low), sizeof(high));
    crc = Fold<15>(crc ^ low) ^ Fold<7>(high);
    content.remove_prefix(kStep);
  }
  for (const char c : content)
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return crc;
}

#ifdef __x86_64__

// Blocks of 16 bytes are polynomials of degree 127 and less, their first bit the highest power. One
// is moved over others by multiplying its halves with powers of x, modulo the polynomial. (Gopal
// and others: Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel
// 2009.)
constexpr uint64_t PowerOfX(int power) {
  uint64_t value = uint64_t{1} << 63;
  for (; power > 0; --power) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
  return value;
}

// The product of two such halves is an x too high.
template <int Bits>
struct Move {
  static constexpr uint64_t kFirst = PowerOfX(Bits + 63), kSecond = PowerOfX(Bits - 1);
};

constexpr size_t kBlock = 16;
constexpr size_t kLanes = 4;  // blocks at a time, which do not wait for each other

__attribute__((target("pclmul"))) inline __m128i Moved(__m128i block, __m128i by) {
  return _mm_xor_si128(_mm_clmulepi64_si128(block, by, 0x00),
                       _mm_clmulepi64_si128(block, by, 0x11));
}

inline __m128i Load(const char* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

// As ByTables().
__attribute__((target("pclmul"))) uint64_t ByProducts(uint64_t crc, absl::string_view content) {
  if (content.size() < 2 * kLanes * kBlock) return ByTables(crc, content);
  using Far = Move<8 * kLanes * kBlock>;
  using Near = Move<8 * kBlock>;
  const __m128i far =
      _mm_set_epi64x(static_cast<int64_t>(Far::kSecond), static_cast<int64_t>(Far::kFirst));
  const __m128i near =
      _mm_set_epi64x(static_cast<int64_t>(Near::kSecond), static_cast<int64_t>(Near::kFirst));
  __m128i lanes[kLanes];
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = Load(content.data() + i * kBlock);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi64_si128(static_cast<int64_t>(crc)));
  content.remove_prefix(kLanes * kBlock);
  for (; content.size() >= kLanes * kBlock; content.remove_prefix(kLanes * kBlock)) {
    for (size_t i = 0; i < kLanes; ++i)
      lanes[i] = _mm_xor_si128(Moved(lanes[i], far), Load(content.data() + i * kBlock));
  }
  __m128i all = lanes[0];
  for (size_t i = 1; i < kLanes; ++i) all = _mm_xor_si128(Moved(all, near), lanes[i]);
  for (; content.size() >= kBlock; content.remove_prefix(kBlock))
    all = _mm_xor_si128(Moved(all, near), Load(content.data()));
  char left[kBlock];
  std::memcpy(left, &all, sizeof(left));
  return ByTables(ByTables(0, {left, sizeof(left)}), content);
}

uint64_t ByTheFastest(uint64_t crc, absl::string_view content) {
  static const bool multiplies = __builtin_cpu_supports("pclmul") != 0;
  return multiplies ? ByProducts(crc, content) : ByTables(crc, content);
}

#else

uint64_t ByTheFastest(uint64_t crc, absl::string_view content) { return ByTables(crc, content); }

#endif

}  // namespace

uint64_t Crc64(absl::string_view content, uint64_t before) {
  return ~ByTheFastest(~before, content);
}

uint64_t Crc64ByTables(absl::string_view content, uint64_t before) {
  return ~ByTables(~before, content);
}

}  // namespace homeward::azure
