// FakeAzureStorage: the simulated storage account (azure/README.md) as a process of this test.
#ifndef HOMEWARD_TESTS_FAKES_FAKE_AZURE_STORAGE_H_
#define HOMEWARD_TESTS_FAKES_FAKE_AZURE_STORAGE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/azure/blob_container.h"

namespace homeward {

class FakeAzureStorage {
 public:
  // Installs Azurite where it is not. An existing directory; nothing stays in it, however this
  // process ends.
  static absl::StatusOr<std::unique_ptr<FakeAzureStorage>> Start(const std::string& directory);
  ~FakeAzureStorage();  // Ends the processes. They end with this one too, however that ends.

  // How its container is reached with the account's key. The waits of retries are short.
  azure::BlobContainerOptions Options() const;
  // POST /control; the reply.
  absl::StatusOr<std::string> Order(const std::string& json);

  const std::string& account() const { return account_; }
  const std::string& key() const { return key_; }
  // Where node_modules is.
  const std::string& npm() const { return npm_; }

 private:
  FakeAzureStorage() = default;
  int pid_ = 0;
  HostPort address_;
  std::string account_, key_, url_, trusted_, npm_;
};

}  // namespace homeward

#endif  // HOMEWARD_TESTS_FAKES_FAKE_AZURE_STORAGE_H_
