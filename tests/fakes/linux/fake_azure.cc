#include "tests/fakes/fake_azure.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/azure/address.h"
#include "common/os/file_system.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

constexpr absl::Duration kReally = absl::Milliseconds(20);

// Of {"name":"value",...}, as the program prints it.
std::string Field(const std::string& json, const std::string& name) {
  const std::string begin = absl::StrCat("\"", name, "\":\"");
  const size_t at = json.find(begin);
  if (at == json.npos) return "";
  const size_t from = at + begin.size();
  return json.substr(from, json.find('"', from) - from);
}

std::string HostOf(const std::string& url, const std::string& scheme) {
  return url.empty() ? "127.0.0.1:0" : url.substr(scheme.size());
}

}  // namespace

absl::StatusOr<std::unique_ptr<FakeAzure>> FakeAzure::Start(const std::string& directory,
                                                            const std::string& config,
                                                            std::vector<std::string> flags) {
  HW_RETURN_IF_ERROR(RealFileSystem().MakeDirectories(directory));
  HW_RETURN_IF_ERROR(
      WriteFileAtomically(RealFileSystem(), JoinPath(directory, "config.json"), config));
  std::unique_ptr<FakeAzure> azure(new FakeAzure);
  azure->directory_ = directory;
  azure->flags_ = std::move(flags);
  HW_RETURN_IF_ERROR(azure->Run());
  return azure;
}

absl::Status FakeAzure::Run() {
  std::vector<std::string> words = {HOMEWARD_FAKE_AZURE_ARM,
                                    "--config",
                                    JoinPath(directory_, "config.json"),
                                    "--state",
                                    JoinPath(directory_, "state"),
                                    "--listen",
                                    HostOf(endpoint_, "https://"),
                                    "--listen-metadata",
                                    HostOf(metadata_, "http://")};
  words.insert(words.end(), flags_.begin(), flags_.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError("pipe");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return absl::InternalError("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(ends[1], STDOUT_FILENO);
    ::execv(HOMEWARD_FAKE_AZURE_ARM, arguments.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  pid_ = pid;
  std::string ready;
  char byte = 0;
  while (::read(ends[0], &byte, 1) == 1 && byte != '\n') ready.push_back(byte);
  ::close(ends[0]);
  if (ready.empty()) return absl::InternalError("the simulated Azure did not start");
  endpoint_ = Field(ready, "endpoint");
  metadata_ = Field(ready, "metadata");
  HW_ASSIGN_OR_RETURN(trusted_, ReadWholeFile(RealFileSystem(), Field(ready, "ca_file")));
  return absl::OkStatus();
}

void FakeAzure::End(int signal) {
  if (pid_ == 0) return;
  ::kill(pid_, signal);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

FakeAzure::~FakeAzure() { End(SIGTERM); }

absl::Status FakeAzure::Crash() {
  End(SIGKILL);
  return Run();
}

azure::Credential FakeAzure::Secret() const {
  azure::Credential credential;
  credential.tenant_id = "11111111-1111-1111-1111-111111111111";
  credential.client_id = "22222222-2222-2222-2222-222222222222";
  credential.client_secret = "secret";
  credential.authority = endpoint_;
  credential.metadata = metadata_;
  credential.trusted = trusted_;
  return credential;
}

azure::ArmOptions FakeAzure::Options() const {
  azure::ArmOptions options;
  options.endpoint = endpoint_;
  options.subscription = "33333333-3333-3333-3333-333333333333";
  options.trusted = trusted_;
  return options;
}

absl::StatusOr<std::string> FakeAzure::Order(const std::string& json) {
  HW_ASSIGN_OR_RETURN(const azure::WebAddress address, azure::ParseWebAddress(endpoint_));
  HttpsOptions options;
  options.address = address.host;
  options.trusted = trusted_;
  HttpsClient client(options);
  HttpsRequest request;
  request.path = "/control";
  request.body = json;
  request.once = true;
  HW_ASSIGN_OR_RETURN(const HttpsReply reply, client.Post(request));
  return reply.code == 200 ? absl::StatusOr<std::string>(reply.body)
                           : absl::InvalidArgumentError(reply.body);
}

absl::Time QuickTime::Now() const {
  absl::MutexLock lock(&mutex_);
  return real_.Now() + ahead_;
}

absl::Duration QuickTime::Monotonic() const {
  absl::MutexLock lock(&mutex_);
  return real_.Monotonic() + ahead_;
}

absl::Status QuickTime::Wait(absl::Duration time, const std::atomic<bool>* stop) {
  std::function<void()> on_wait;
  {
    absl::MutexLock lock(&mutex_);
    waits_.push_back(time);
    ahead_ += time;
    on_wait = on_wait_;
  }
  if (on_wait) on_wait();
  if (stop != nullptr && stop->load()) return absl::CancelledError("stopped");
  return azure::RealPauses().Wait(kReally, stop);
}

std::vector<absl::Duration> QuickTime::waits() const {
  absl::MutexLock lock(&mutex_);
  return waits_;
}

void QuickTime::OnWait(std::function<void()> callback) {
  absl::MutexLock lock(&mutex_);
  on_wait_ = std::move(callback);
}

void QuickTime::Pass(absl::Duration time) {
  absl::MutexLock lock(&mutex_);
  ahead_ += time;
}

}  // namespace homeward
