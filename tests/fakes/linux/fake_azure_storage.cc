#include "tests/fakes/fake_azure_storage.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/os/run_program.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr absl::Duration kInstallLimit = absl::Minutes(10);

// Of {"name":"value",...}, as the program prints it.
std::string Field(const std::string& json, const std::string& name) {
  const std::string begin = absl::StrCat("\"", name, "\":\"");
  const size_t at = json.find(begin);
  if (at == json.npos) return "";
  const size_t from = at + begin.size();
  return json.substr(from, json.find('"', from) - from);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FakeAzureStorage>> FakeAzureStorage::Start(
    const std::string& directory) {
  HW_RETURN_IF_ERROR(RunProgram({HOMEWARD_INSTALL_NPM, HOMEWARD_NPM_DIRECTORY}, kInstallLimit));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError("pipe");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return absl::InternalError("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(ends[1], STDOUT_FILENO);
    ::execl(HOMEWARD_FAKE_AZURE_STORAGE, HOMEWARD_FAKE_AZURE_STORAGE, "--npm",
            HOMEWARD_NPM_DIRECTORY, "--directory", directory.c_str(), "--memory", nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  std::unique_ptr<FakeAzureStorage> storage(new FakeAzureStorage);
  storage->pid_ = pid;
  std::string ready;
  char byte = 0;
  while (::read(ends[0], &byte, 1) == 1 && byte != '\n') ready.push_back(byte);
  ::close(ends[0]);
  if (ready.empty()) return absl::InternalError("the simulated storage account did not start");
  HW_ASSIGN_OR_RETURN(storage->address_, ParseHostPort(Field(ready, "address")));
  storage->account_ = Field(ready, "account");
  storage->key_ = Field(ready, "key");
  storage->url_ = Field(ready, "url");
  storage->npm_ = HOMEWARD_NPM_DIRECTORY;
  HW_ASSIGN_OR_RETURN(storage->trusted_,
                      HttpsClient::ShownCertificate(storage->address_, {}, absl::Seconds(20)));
  return storage;
}

FakeAzureStorage::~FakeAzureStorage() {
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

azure::BlobContainerOptions FakeAzureStorage::Options() const {
  azure::BlobContainerOptions options;
  options.url = url_;
  options.credential = azure::AccountKey{key_};
  options.trusted = trusted_;
  options.retry.first = absl::Milliseconds(10);
  options.retry.longest = absl::Milliseconds(100);
  return options;
}

absl::StatusOr<std::string> FakeAzureStorage::Order(const std::string& json) {
  HttpsOptions options;
  options.address = address_;
  options.trusted = trusted_;
  HttpsClient client(options);
  HttpsRequest request;
  request.path = "/control";
  request.body = json;
  HW_ASSIGN_OR_RETURN(const HttpsReply reply, client.Post(request));
  return reply.code == 200 ? absl::StatusOr<std::string>(reply.body)
                           : absl::InvalidArgumentError(reply.body);
}

}  // namespace homeward
