#include "process_server/host/azure_config.h"

#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/azure/address.h"
#include "common/azure/shared_key.h"
#include "common/base/bytes.h"
#include "common/config/proxy.h"
#include "common/status/status_macros.h"
#include "common/tls/identity.h"

namespace homeward {
namespace {

using config::v1::AzureStorage;

constexpr uint64_t kSecretBytesMax = 64 * kKiB;
constexpr uint64_t kCertificatesBytesMax = 4 * kMiB;

// Each returns what is in the file. What is wrong with it names it.
absl::StatusOr<std::string> ReadFile(FileSystem& files, const std::string& path,
                                     uint64_t bytes_max) {
  absl::StatusOr<std::string> text = ReadWholeFile(files, path, bytes_max);
  if (!text.ok()) return Annotate(text.status(), absl::StrCat("cannot read ", path));
  return text;
}

absl::StatusOr<std::string> ReadKey(FileSystem& files, const std::string& path) {
  HW_ASSIGN_OR_RETURN(std::string text, ReadFile(files, path, kSecretBytesMax));
  HW_RETURN_IF_ERROR(Annotate(azure::DecodeAccountKey(text).status(), path));
  return text;
}

absl::StatusOr<std::string> ReadSignature(FileSystem& files, const std::string& path) {
  HW_ASSIGN_OR_RETURN(std::string text, ReadFile(files, path, kSecretBytesMax));
  HW_RETURN_IF_ERROR(Annotate(azure::CheckSharedAccessSignature(text).status(), path));
  return text;
}

absl::StatusOr<std::string> ReadSecret(FileSystem& files, const std::string& path) {
  HW_ASSIGN_OR_RETURN(const std::string text, ReadFile(files, path, kSecretBytesMax));
  const std::string secret(absl::StripAsciiWhitespace(text));
  if (secret.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is empty: write the application's client secret into it"));
  }
  return secret;
}

absl::StatusOr<std::string> ReadCertificates(FileSystem& files, const std::string& path) {
  HW_ASSIGN_OR_RETURN(std::string text, ReadFile(files, path, kCertificatesBytesMax));
  if (!CertificateThumbprint(text).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has no certificate: it must be PEM, -----BEGIN CERTIFICATE-----"));
  }
  return text;
}

// Checks one storage entry, named `key`.
class Checker {
 public:
  Checker(FileSystem& files, std::string key, ConfigProblems* problems)
      : files_(files), key_(std::move(key)), problems_(*problems) {}

  void Check(const AzureStorage& storage) {
    if (const auto address = azure::ParseContainerUrl(storage.container_url()); !address.ok())
      Add("container_url", std::string(address.status().message()));
    switch (storage.access_case()) {
      case AzureStorage::kKeyFile:
        CheckFile("key_file", storage.key_file(), ReadKey);
        break;
      case AzureStorage::kSasFile:
        CheckFile("sas_file", storage.sas_file(), ReadSignature);
        break;
      case AzureStorage::kCredential:
        CheckCredential(storage.credential());
        break;
      case AzureStorage::ACCESS_NOT_SET:
        problems_.Add(key_, "has nothing to log in with; give key_file, sas_file or credential");
    }
    if (!storage.trusted_certificates_file().empty())
      CheckFile("trusted_certificates_file", storage.trusted_certificates_file(), ReadCertificates);
  }

 private:
  void Add(const char* field, const std::string& text) {
    problems_.Add(absl::StrCat(key_, ".", field), text);
  }
  void CheckFile(const char* field, const std::string& path,
                 absl::StatusOr<std::string> (*read)(FileSystem&, const std::string&)) {
    if (path.empty() || path.front() != '/')
      return RequireAbsolutePath(absl::StrCat(key_, ".", field), path, &problems_);
    const absl::Status status = read(files_, path).status();
    if (!status.ok()) Add(field, std::string(status.message()));
  }
  void CheckCredential(const config::v1::AzureCredential& credential) {
    if (credential.tenant_id().empty())
      Add("credential.tenant_id", "is missing; give the id of the directory in Microsoft Entra ID");
    if (credential.client_id().empty())
      Add("credential.client_id", "is missing; give the application's id");
    CheckFile("credential.client_secret_file", credential.client_secret_file(), ReadSecret);
    if (credential.authority_url().empty()) return;
    const auto authority = azure::ParseWebAddress(credential.authority_url());
    if (!authority.ok()) {
      Add("credential.authority_url", std::string(authority.status().message()));
    } else if (!authority->tls) {
      Add("credential.authority_url", "must begin with https://");
    }
  }

  FileSystem& files_;
  const std::string key_;
  ConfigProblems& problems_;
};

}  // namespace

std::string ContainerUrlOf(const AzureStorage& storage) {
  return std::string(absl::StripSuffix(storage.container_url(), "/"));
}

void CheckAzureConfig(FileSystem& files, const config::v1::Azure& config,
                      ConfigProblems* problems) {
  if (config.storage().empty())
    problems->Add("azure", "names no container; give storage, or leave azure out");
  std::set<std::string> urls;
  for (int i = 0; i < config.storage_size(); ++i) {
    const std::string key = absl::StrCat("azure.storage[", i, "]");
    Checker(files, key, problems).Check(config.storage(i));
    if (!urls.insert(absl::AsciiStrToLower(ContainerUrlOf(config.storage(i)))).second) {
      problems->Add(absl::StrCat(key, ".container_url"),
                    "is the container of an earlier entry; leave one of them out");
    }
  }
  RequireProxy("azure.proxy", config.proxy(), problems);
}

absl::StatusOr<StorageAccess> ReadStorageAccess(FileSystem& files, const AzureStorage& storage,
                                                const HttpsProxy& proxy) {
  StorageAccess access;
  access.options.url = ContainerUrlOf(storage);
  access.options.proxy = proxy;
  if (!storage.trusted_certificates_file().empty()) {
    HW_ASSIGN_OR_RETURN(access.options.trusted,
                        ReadCertificates(files, storage.trusted_certificates_file()));
  }
  switch (storage.access_case()) {
    case AzureStorage::kKeyFile: {
      HW_ASSIGN_OR_RETURN(std::string key, ReadKey(files, storage.key_file()));
      access.options.credential = azure::AccountKey{std::move(key)};
      return access;
    }
    case AzureStorage::kSasFile: {
      HW_ASSIGN_OR_RETURN(std::string token, ReadSignature(files, storage.sas_file()));
      access.options.credential = azure::SharedAccessSignature{std::move(token)};
      return access;
    }
    case AzureStorage::kCredential: {
      azure::Credential& tokens = access.tokens.emplace();
      tokens.tenant_id = storage.credential().tenant_id();
      tokens.client_id = storage.credential().client_id();
      HW_ASSIGN_OR_RETURN(tokens.client_secret,
                          ReadSecret(files, storage.credential().client_secret_file()));
      if (!storage.credential().authority_url().empty())
        tokens.authority = storage.credential().authority_url();
      tokens.trusted = access.options.trusted;
      tokens.proxy = proxy;
      return access;
    }
    case AzureStorage::ACCESS_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("container ", access.options.url, " has nothing to log in with"));
}

}  // namespace homeward
