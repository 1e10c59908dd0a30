#include "common/cipher/passphrase_key.h"

#include <openssl/evp.h>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/cipher/data_key.h"
#include "common/cipher/evp.h"

namespace homeward {
namespace {

constexpr uint64_t kMemoryMax = kGiB;
constexpr uint32_t kParallelismMax = 16;

}  // namespace

absl::StatusOr<std::string> KeyOfPassphrase(absl::string_view passphrase, absl::string_view salt,
                                            const StretchCost& cost) {
  const bool is_something = cost.cost > 0 && cost.block_size > 0 && cost.parallelism > 0;
  if (!is_something || cost.cost > 30 || cost.parallelism > kParallelismMax ||
      cost.block_size > kMemoryMax >> (cost.cost + 7)) {
    return absl::InvalidArgumentError(absl::StrCat("scrypt with N 2^", cost.cost, ", r ",
                                                   cost.block_size, " and p ", cost.parallelism,
                                                   " is not what this program computes"));
  }
  std::string key(kDataKeyBytes, '\0');
  cipher::Must(EVP_PBE_scrypt(passphrase.data(), passphrase.size(), AsBytes(salt).data(),
                              salt.size(), uint64_t{1} << cost.cost, cost.block_size,
                              cost.parallelism, 2 * kMemoryMax, Writable(&key).data(), key.size()));
  return key;
}

}  // namespace homeward
