// What the configuration says of Azure, and what is read from the files that it names.
#ifndef HOMEWARD_PROCESS_SERVER_HOST_AZURE_CONFIG_H_
#define HOMEWARD_PROCESS_SERVER_HOST_AZURE_CONFIG_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "common/azure/blob_container.h"
#include "common/azure/token.h"
#include "common/config/config.h"
#include "common/net/https_client.h"
#include "common/os/file_system.h"
#include "homeward/config/v1/config.pb.h"

namespace homeward {

// Also reads the files that it names. No problem has a secret in it.
void CheckAzureConfig(FileSystem& files, const config::v1::Azure& config, ConfigProblems* problems);

// How one container is reached. INVALID_ARGUMENT, and what reading a file ends with, name the file.
struct StorageAccess {
  // Without a TokenSource where it is by `tokens`.
  azure::BlobContainerOptions options;
  absl::optional<azure::Credential> tokens;
};
absl::StatusOr<StorageAccess> ReadStorageAccess(FileSystem& files,
                                                const config::v1::AzureStorage& storage,
                                                const HttpsProxy& proxy);

// What its replicas are found by: the URL as it is configured, without a '/' at its end.
std::string ContainerUrlOf(const config::v1::AzureStorage& storage);

}  // namespace homeward

#endif  // HOMEWARD_PROCESS_SERVER_HOST_AZURE_CONFIG_H_
