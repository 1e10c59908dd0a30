// What tests of the data path with real components have of the machine: its disk, and certificates.
#ifndef HOMEWARD_TESTS_E2E_MEMORY_SOURCE_H_
#define HOMEWARD_TESTS_E2E_MEMORY_SOURCE_H_

#include <cstring>
#include <random>
#include <string>

#include "absl/synchronization/mutex.h"
#include "common/base/extent_set.h"
#include "common/tls/identity.h"
#include "mobility_agent/capture/write_source.h"

namespace homeward {

// A disk in memory, written by the test. Thread-safe.
class MemorySource : public WriteSource {
 public:
  explicit MemorySource(uint64_t bytes) : content_(bytes, '\0') {}

  void Write(uint64_t offset, const std::string& bytes) {
    absl::MutexLock lock(&mutex_);
    content_.replace(offset, bytes.size(), bytes);
    changed_.Add({offset, bytes.size()});
  }
  // Writes of many sizes, many of them upon another.
  void WriteSome(uint64_t seed, int count) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) {
      std::string bytes((1 + random() % 300) * kSectorBytes, '\0');
      if (random() % 4 != 0) {
        for (char& byte : bytes) byte = static_cast<char>(random());
      }
      Write(random() % ((size_bytes() - bytes.size()) / kSectorBytes) * kSectorBytes, bytes);
    }
  }
  std::string content() {
    absl::MutexLock lock(&mutex_);
    return content_;
  }

  uint64_t size_bytes() const override {
    absl::MutexLock lock(&mutex_);
    return content_.size();
  }
  absl::StatusOr<Collected> Collect(absl::Span<Extent> changed) override {
    absl::MutexLock lock(&mutex_);
    const size_t count = changed_.TakeInto(changed);
    return Collected{count, !changed_.empty()};
  }
  absl::Status Read(uint64_t offset, MutableBytes out) override {
    absl::MutexLock lock(&mutex_);
    std::memcpy(out.data(), content_.data() + offset, out.size());
    return absl::OkStatus();
  }
  // The test writes while nothing is taken, so holding still needs nothing.
  void BeginFreeze() override {}
  absl::Status AwaitFrozen(absl::Duration) override { return absl::OkStatus(); }
  void Thaw() override {}

 private:
  mutable absl::Mutex mutex_;
  std::string content_ ABSL_GUARDED_BY(mutex_);
  ExtentSet changed_ ABSL_GUARDED_BY(mutex_);
};

inline TlsIdentity MakeIdentity(const CertificateAuthority& authority, Role role, absl::Time now,
                                const std::string& host_id = "host-1") {
  TlsIdentity identity;
  identity.ca = authority.certificate();
  identity.key = *MakePrivateKey();
  identity.certificate = *authority.Sign(*MakeSigningRequest(identity.key),
                                         {.role = role, .host_id = host_id, .not_before = now});
  return identity;
}

}  // namespace homeward

#endif  // HOMEWARD_TESTS_E2E_MEMORY_SOURCE_H_
