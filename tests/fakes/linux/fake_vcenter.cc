#include "tests/fakes/fake_vcenter.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/os/file_system.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

// Of {"name":"value",...}, as the program prints it.
std::string Field(const std::string& json, const std::string& name) {
  const std::string begin = absl::StrCat("\"", name, "\":\"");
  const size_t at = json.find(begin);
  if (at == json.npos) return "";
  const size_t from = at + begin.size();
  return json.substr(from, json.find('"', from) - from);
}

}  // namespace

absl::StatusOr<std::unique_ptr<FakeVcenter>> FakeVcenter::Start(const std::string& directory,
                                                                const std::string& topology) {
  const std::string path = JoinPath(directory, "topology.json");
  HW_RETURN_IF_ERROR(RealFileSystem().MakeDirectories(directory));
  HW_RETURN_IF_ERROR(WriteFileAtomically(RealFileSystem(), path, topology));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError("pipe");
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return absl::InternalError("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(ends[1], STDOUT_FILENO);
    ::execl(HOMEWARD_FAKE_VCENTER, HOMEWARD_FAKE_VCENTER, "--topology", path.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  std::unique_ptr<FakeVcenter> vcenter(new FakeVcenter);
  vcenter->pid_ = pid;
  std::string ready;
  char byte = 0;
  while (::read(ends[0], &byte, 1) == 1 && byte != '\n') ready.push_back(byte);
  ::close(ends[0]);
  if (ready.empty()) return absl::InternalError("the simulated vCenter did not start");
  HW_ASSIGN_OR_RETURN(vcenter->address_, ParseHostPort(Field(ready, "address")));
  vcenter->thumbprint_ = Field(ready, "thumbprint");
  return vcenter;
}

FakeVcenter::~FakeVcenter() {
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

vsphere::Endpoint FakeVcenter::EndpointFor(const std::string& user) const {
  return {address_, thumbprint_, "", user, "secret", {}};
}

absl::StatusOr<std::string> FakeVcenter::Order(const std::string& json) {
  HttpsOptions options;
  options.address = address_;
  options.check_name = false;
  HW_ASSIGN_OR_RETURN(options.trusted,
                      HttpsClient::ShownCertificate(address_, {}, absl::Seconds(5)));
  HttpsClient client(options);
  HttpsRequest request;
  request.path = "/control";
  request.body = json;
  request.once = true;
  HW_ASSIGN_OR_RETURN(const HttpsReply reply, client.Post(request));
  return reply.code == 200 ? absl::StatusOr<std::string>(reply.body)
                           : absl::InvalidArgumentError(reply.body);
}

}  // namespace homeward
