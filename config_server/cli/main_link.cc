// homeward: what operators type. A client of the configuration server, nothing more.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/name.h"
#include "common/clock/clock.h"
#include "common/control/enrolment.h"
#include "common/daemon/daemon.h"
#include "common/os/file_system.h"
#include "common/os/host.h"
#include "common/status/status_macros.h"
#include "common/wire/time_proto.h"
#include "config_server/cli/client_link.h"
#include "config_server/cli/output.h"

namespace homeward {
namespace {

using admin::v1::AdminService;

// Exit codes, for scripts; docs/operations/README.md lists them.
enum ExitCode {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kRefused = 3,
  kNotFound = 4,
  kTryAgain = 5,
  kNotAllowed = 6,
  kJobFailed = 7,
};

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      return kRefused;
    case absl::StatusCode::kNotFound:
      return kNotFound;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kTryAgain;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kNotAllowed;
    default:
      return kFailed;
  }
}

// The command line as it was read.
struct Arguments {
  std::string server = "127.0.0.1:443";
  std::string identity = "/var/lib/homeward/config-server/operator";
  std::string output = "table";
  std::string subject;  // machine, server or job
  std::vector<std::string> machines;
  std::string copy;
  std::string address, thumbprint, ca_file, user, password_file;
  std::string point, process_server, master_target, datastore, directory, location, vm;
  admin::v1::NewVm new_vm;
  bool apply = false;
  std::vector<std::string> block_devices;
  std::string point_interval, app_point_interval, retention;
  std::vector<std::string> disks;
  uint64_t retention_bytes = 0;
  uint32_t count = 0;
  bool wait = false;
  bool keep_disks = false;
  bool source_lost = false, remove_snapshots = false, accept_not_one_instant = false;
  bool app_consistent = false, all_machines = false;
};

class Commands {
 public:
  explicit Commands(const Arguments& arguments) : arguments_(arguments) {}

  // Opens the way to the server and runs `command`.
  int Run(const std::function<absl::Status(AdminClient&)>& command) {
    AdminClient::Options options;
    options.address = arguments_.server;
    options.identity_directory = arguments_.identity;
    options.waiting = [this] {
      std::fprintf(stderr, "%s does not answer; trying again\n", arguments_.server.c_str());
    };
    absl::StatusOr<AdminClient> client = AdminClient::Open(std::move(options));
    const absl::Status status = client.ok() ? command(*client) : client.status();
    if (!status.ok()) {
      std::fputs(FormatFailure(status).c_str(), stderr);
      return ExitCodeOf(status);
    }
    return exit_code_;
  }

  template <typename Message>
  void Print(const Message& message, std::string (*as_table)(const Message&)) const {
    const std::string text = arguments_.output == "json"   ? ToJson(message)
                             : arguments_.output == "yaml" ? ToYaml(message)
                                                           : as_table(message);
    std::fputs(text.c_str(), stdout);
    if (arguments_.output == "json" && (text.empty() || text.back() != '\n'))
      std::fputs("\n", stdout);
  }

  template <typename Request, typename Response>
  absl::Status Show(AdminClient& client,
                    grpc::Status (AdminClient::Stub::*method)(grpc::ClientContext*, const Request&,
                                                              Response*),
                    const Request& request, std::string (*as_table)(const Response&)) {
    Response response;
    HW_RETURN_IF_ERROR(client.Call(method, request, &response));
    Print(response, as_table);
    return absl::OkStatus();
  }

  // Starts a job and, with --wait, stays until it has ended.
  template <typename Request>
  absl::Status Start(AdminClient& client,
                     grpc::Status (AdminClient::Stub::*method)(grpc::ClientContext*, const Request&,
                                                               admin::v1::Job*),
                     const Request& request) {
    admin::v1::Job job;
    HW_RETURN_IF_ERROR(client.Call(method, request, &job));
    if (arguments_.wait) return Watch(client, job.id());
    Print(job, FormatJob);
    return absl::OkStatus();
  }

  // A job for each of the requests, all started before any is waited for. Of several, one that is
  // refused does not keep the others back.
  template <typename Request>
  absl::Status StartAll(AdminClient& client,
                        grpc::Status (AdminClient::Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, admin::v1::Job*),
                        const std::vector<Request>& requests) {
    std::vector<admin::v1::Job> jobs;
    for (const Request& request : requests) {
      const absl::Status status = client.Call(method, request, &jobs.emplace_back());
      if (status.ok()) continue;
      jobs.pop_back();
      if (requests.size() == 1) return status;
      std::fprintf(stderr, "%s: %s", request.machine().c_str(), FormatFailure(status).c_str());
      exit_code_ = ExitCodeOf(status);
    }
    for (const admin::v1::Job& job : jobs) {
      if (arguments_.wait) {
        HW_RETURN_IF_ERROR(Watch(client, job.id()));
      } else {
        Print(job, FormatJob);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Watch(AdminClient& client, const std::string& job_id) {
    HW_ASSIGN_OR_RETURN(const admin::v1::Job job,
                        client.Watch(job_id, [this](const admin::v1::Job& now) { Progress(now); }));
    if (on_line_) std::fputs("\n", stderr);
    on_line_ = false;
    Print(job, FormatJob);
    if (job.state() != "Succeeded") exit_code_ = kJobFailed;
    return absl::OkStatus();
  }

 private:
  // One line that moves on a terminal; a line for each task elsewhere.
  void Progress(const admin::v1::Job& job) {
    const admin::v1::Task* running = nullptr;
    for (const admin::v1::Task& task : job.tasks()) {
      if (task.state() == "Running") running = &task;
    }
    if (running == nullptr) return;
    std::string line = running->name();
    if (running->total_bytes() > 0) {
      const absl::Duration now = clock_.Monotonic();
      if (running->name() != task_) {
        rate_since_ = now;
        rate_base_ = running->done_bytes();
      }
      const double seconds = absl::ToDoubleSeconds(now - rate_since_);
      const double rate = seconds > 0.5 && running->done_bytes() > rate_base_
                              ? static_cast<double>(running->done_bytes() - rate_base_) / seconds
                              : 0;
      absl::StrAppend(&line, ": ", FormatBytes(running->done_bytes()), " of ",
                      FormatBytes(running->total_bytes()));
      if (rate > 0) {
        const double left =
            static_cast<double>(running->total_bytes() - running->done_bytes()) / rate;
        absl::StrAppend(&line, ", ", FormatBytes(static_cast<uint64_t>(rate)), "/s, ",
                        absl::FormatDuration(absl::Trunc(absl::Seconds(left), absl::Seconds(1))),
                        " left");
      }
    } else if (!running->detail().empty()) {
      absl::StrAppend(&line, ": waiting for ", running->detail());
    }
    if (ErrorOutputIsTerminal()) {
      std::fprintf(stderr, "\r\033[K%s", line.c_str());
      on_line_ = true;
    } else if (running->name() != task_) {
      std::fprintf(stderr, "%s\n", running->name().c_str());
    }
    task_ = running->name();
  }

  const Arguments& arguments_;
  const RealClock clock_;
  int exit_code_ = kOk;
  std::string task_;
  absl::Duration rate_since_;
  uint64_t rate_base_ = 0;
  bool on_line_ = false;
};

absl::Status ReadPolicy(const Arguments& arguments, admin::v1::Policy* policy) {
  const auto read = [](const std::string& text, const char* flag,
                       google::protobuf::Duration* out) -> absl::Status {
    absl::Duration duration;
    if (!absl::ParseDuration(text, &duration)) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " \"", text, "\" is not a duration such as 5s, 15m or 24h"));
    }
    *out = ToProto(duration);
    return absl::OkStatus();
  };
  if (!arguments.point_interval.empty())
    HW_RETURN_IF_ERROR(
        read(arguments.point_interval, "--point-interval", policy->mutable_point_interval()));
  if (!arguments.app_point_interval.empty())
    HW_RETURN_IF_ERROR(read(arguments.app_point_interval, "--app-point-interval",
                            policy->mutable_app_point_interval()));
  if (!arguments.retention.empty())
    HW_RETURN_IF_ERROR(read(arguments.retention, "--retention", policy->mutable_retention_age()));
  policy->set_retention_bytes(arguments.retention_bytes);
  return absl::OkStatus();
}

template <typename Request>
absl::Status FillPlacement(const Arguments& arguments, const std::string& machine,
                           Request* request) {
  request->set_machine(machine);
  request->set_process_server(arguments.process_server);
  request->set_master_target(arguments.master_target);
  request->set_datastore(arguments.datastore);
  request->set_directory(arguments.directory);
  request->set_vm(arguments.vm);
  for (const std::string& device : arguments.block_devices) request->add_block_devices(device);
  return ReadPolicy(arguments, request->mutable_policy());
}

// Words that may follow a command, for the shell.
void CollectWords(const CLI::App& app, const std::string& path,
                  std::vector<std::pair<std::string, std::string>>* out) {
  std::vector<std::string> words;
  for (const CLI::App* sub : app.get_subcommands(nullptr)) {
    words.push_back(sub->get_name());
    CollectWords(*sub, path.empty() ? sub->get_name() : absl::StrCat(path, " ", sub->get_name()),
                 out);
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  out->emplace_back(path, absl::StrJoin(words, " "));
}

std::string Completion(const CLI::App& app, const std::string& shell) {
  std::vector<std::pair<std::string, std::string>> commands;
  CollectWords(app, "", &commands);
  std::string out = shell == "zsh" ? "autoload -Uz bashcompinit && bashcompinit\n" : "";
  out +=
      "_homeward() {\n  local path=\"\" word\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"$word\" in -*) ;; *) path=\"${path:+$path }$word\" ;; esac\n  done\n"
      "  local words=\"\"\n  case \"$path\" in\n";
  for (const auto& [path, words] : commands)
    absl::StrAppend(&out, "    \"", path, "\"*) words=\"", words, "\" ;;\n");
  out +=
      "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
      "complete -F _homeward homeward\n";
  return out;
}

// The tree of commands. Each leaf sets `*run`.
class CommandLine {
 public:
  CommandLine(CLI::App* app, Arguments* arguments, std::function<int()>* run)
      : app_(*app), arguments_(*arguments), commands_(arguments_), run_(*run) {
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.add_option("--server", arguments_.server, "host:port of the configuration server")
        ->envname("HOMEWARD_SERVER")
        ->capture_default_str();
    app_.add_option("--identity", arguments_.identity, "directory with an operator's identity")
        ->envname("HOMEWARD_IDENTITY")
        ->capture_default_str();
    app_.add_option("-o,--output", arguments_.output, "table, json or yaml")
        ->check(CLI::IsMember({"table", "json", "yaml"}))
        ->capture_default_str();
    AddMachines();
    AddPoints();
    AddServers();
    AddVcenters();
    AddInventory();
    AddJobs();
    AddRest();
  }

 private:
  using Command = std::function<absl::Status(AdminClient&)>;

  CLI::App* Group(const char* name, const char* what) {
    CLI::App* const group = app_.add_subcommand(name, what);
    group->require_subcommand(1);
    return group;
  }
  CLI::App* Leaf(CLI::App* group, const char* name, const char* what, const char* example,
                 Command command) {
    CLI::App* const leaf = group->add_subcommand(name, what);
    leaf->footer(absl::StrCat("Example:\n  homeward ", example));
    leaf->callback([this, command] { run_ = [this, command] { return commands_.Run(command); }; });
    return leaf;
  }
  CLI::App* Subject(CLI::App* leaf, const char* name, const char* what) {
    leaf->add_option(name, arguments_.subject, what)->required();
    return leaf;
  }
  CLI::App* Waiting(CLI::App* leaf) {
    leaf->add_flag("--wait", arguments_.wait, "show progress and stay until the job has ended");
    return leaf;
  }
  void Placing(CLI::App* leaf) {
    leaf->add_option("--process-server", arguments_.process_server,
                     "name or id; default: the least loaded");
    leaf->add_option("--master-target", arguments_.master_target,
                     "name or id; default: the least loaded");
    leaf->add_option("--datastore", arguments_.datastore,
                     "path on the master target; default: the one with most room");
    leaf->add_option("--directory", arguments_.directory,
                     "in the datastore; default: the machine's name");
    leaf->add_option("--block-device", arguments_.block_devices,
                     "of the master target, instead of a datastore; once for each disk, in order");
    leaf->add_option("--vm", arguments_.vm,
                     "which VM the machine is or was, where several can be: reference or path, as "
                     "VM_AMBIGUOUS names them");
    leaf->add_option("--point-interval", arguments_.point_interval,
                     "between crash-consistent points; default 5m");
    leaf->add_option("--app-point-interval", arguments_.app_point_interval,
                     "between application-consistent points; default 60m");
    leaf->add_option("--retention", arguments_.retention, "how long points are kept; default 24h");
    leaf->add_option("--retention-bytes", arguments_.retention_bytes,
                     "of the recovery journal at most; default: no limit");
  }

  template <typename Request>
  Request ForMachine() const {
    Request request;
    request.set_machine(arguments_.subject);
    return request;
  }

  absl::Status Protect(AdminClient& client) {
    if (arguments_.machines.size() > 1 &&
        !(arguments_.directory.empty() && arguments_.block_devices.empty() &&
          arguments_.disks.empty() && arguments_.vm.empty())) {
      return absl::InvalidArgumentError(
          "--directory, --block-device, --disk and --vm are for one machine: protect these one by "
          "one");
    }
    std::vector<admin::v1::ProtectRequest> requests;
    for (const std::string& machine : arguments_.machines) {
      HW_RETURN_IF_ERROR(FillPlacement(arguments_, machine, &requests.emplace_back()));
      for (const std::string& disk : arguments_.disks) requests.back().add_disks(disk);
    }
    return commands_.StartAll(client, &AdminClient::Stub::Protect, requests);
  }

  // Of an alternate location.
  void AddNewVm(CLI::App* leaf) {
    const auto text = [&](const char* name, std::string* (admin::v1::NewVm::*field)(),
                          const char* says) {
      leaf->add_option_function<std::string>(
          name, [this, field](const std::string& value) { *(arguments_.new_vm.*field)() = value; },
          says);
    };
    text("--vm-name", &admin::v1::NewVm::mutable_name, "of a new VM; default: as it was");
    text("--vm-firmware", &admin::v1::NewVm::mutable_firmware, "bios or efi");
    text("--vm-guest-id", &admin::v1::NewVm::mutable_guest_id, "as vSphere names systems");
    text("--vm-network", &admin::v1::NewVm::mutable_network, "for one network card");
    leaf->add_option_function<uint32_t>(
        "--vm-cpus", [this](uint32_t value) { arguments_.new_vm.set_cpus(value); }, "processors");
    leaf->add_option_function<uint32_t>(
        "--vm-memory-mb", [this](uint32_t value) { arguments_.new_vm.set_memory_mb(value); },
        "memory");
  }

  void AddMachines() {
    CLI::App* const group = Group("machines", "protected machines, and those that could be");
    Leaf(group, "list", "all machines", "machines list", [this](AdminClient& client) {
      return commands_.Show(client, &AdminClient::Stub::ListMachines,
                            admin::v1::ListMachinesRequest(), FormatMachines);
    });
    Subject(Leaf(group, "show", "one machine, with its health", "machines show web-1",
                 [this](AdminClient& client) {
                   return commands_.Show(client, &AdminClient::Stub::GetMachine,
                                         ForMachine<admin::v1::GetMachineRequest>(), FormatMachine);
                 }),
            "machine", "name or id");
    Subject(
        Leaf(group, "accept", "a copy that is refused with AGENT_CLONED is the machine from now on",
             "machines accept web-1 --copy 564d1f0c-5a52-4b6c-9b3a-0d6f6e1c2a11",
             [this](AdminClient& client) {
               auto request = ForMachine<admin::v1::AcceptMachineRequest>();
               request.set_copy(arguments_.copy);
               return commands_.Show(client, &AdminClient::Stub::AcceptMachine, request,
                                     FormatMachine);
             }),
        "machine", "name or id")
        ->add_option("--copy", arguments_.copy,
                     "its hardware UUID or boot id, where several are refused");
    CLI::App* const protect =
        Waiting(Leaf(group, "protect", "replicate machines",
                     "machines protect web-1 web-2 --datastore /vmfs/ds1 --wait",
                     [this](AdminClient& client) { return Protect(client); }));
    protect->add_option("machine", arguments_.machines, "names or ids")->required();
    protect->add_option("--disk", arguments_.disks, "only this disk; may be given several times");
    Placing(protect);
    CLI::App* const reprotect = Waiting(
        Subject(Leaf(group, "reprotect", "replicate a machine again after a failback",
                     "machines reprotect web-1 --datastore /vmfs/ds2",
                     [this](AdminClient& client) -> absl::Status {
                       admin::v1::ReprotectRequest request;
                       HW_RETURN_IF_ERROR(FillPlacement(arguments_, arguments_.subject, &request));
                       if (arguments_.location == "original")
                         request.set_location(admin::v1::ORIGINAL_VM);
                       if (arguments_.location == "directory")
                         request.set_location(admin::v1::DATASTORE_DIRECTORY);
                       if (arguments_.location == "hyperv")
                         request.set_location(admin::v1::HYPERV_VM);
                       if (arguments_.location == "alternate")
                         request.set_location(admin::v1::ALTERNATE_VM);
                       if (arguments_.new_vm.ByteSizeLong() > 0)
                         *request.mutable_new_vm() = arguments_.new_vm;
                       request.set_remove_snapshots(arguments_.remove_snapshots);
                       return commands_.Start(client, &AdminClient::Stub::Reprotect, request);
                     }),
                "machine", "name or id"));
    Placing(reprotect);
    reprotect
        ->add_option(
            "--location", arguments_.location,
            "original: the VM that it was; alternate: a new VM on the master target's host, "
            "--datastore names its datastore; directory: of a datastore that is mounted on "
            "the master target; hyperv: always refused; default: original, where there is such a "
            "VM")
        ->check(CLI::IsMember({"original", "alternate", "directory", "hyperv"}));
    reprotect->add_flag("--remove-snapshots", arguments_.remove_snapshots,
                        "merge the snapshots of the original VM into its disks first");
    AddNewVm(reprotect);
    Waiting(Subject(Leaf(group, "resync", "compare all of a machine's disks again",
                         "machines resync web-1 --wait",
                         [this](AdminClient& client) {
                           return commands_.Start(client, &AdminClient::Stub::Resync,
                                                  ForMachine<admin::v1::ResyncRequest>());
                         }),
                    "machine", "name or id"));
    CLI::App* const failback = Waiting(
        Subject(Leaf(group, "failback", "bring a machine home at a recovery point",
                     "machines failback web-1 --point latest --wait",
                     [this](AdminClient& client) {
                       auto request = ForMachine<admin::v1::FailbackRequest>();
                       request.set_point(arguments_.point);
                       request.set_source_lost(arguments_.source_lost);
                       request.set_accept_not_one_instant(arguments_.accept_not_one_instant);
                       return commands_.Start(client, &AdminClient::Stub::Failback, request);
                     }),
                "machine", "name or id"));
    failback->add_option("--point", arguments_.point,
                         "latest, latest-app-consistent, or a point's id");
    failback->add_flag("--source-lost", arguments_.source_lost,
                       "the machine is gone: do not wait for its agent");
    failback->add_flag("--accept-not-one-instant", arguments_.accept_not_one_instant,
                       "take the point even if something wrote while it was made");
    Waiting(Subject(Leaf(group, "commit", "keep the point a machine was failed back to",
                         "machines commit web-1 --wait",
                         [this](AdminClient& client) {
                           return commands_.Start(client, &AdminClient::Stub::Commit,
                                                  ForMachine<admin::v1::CommitRequest>());
                         }),
                    "machine", "name or id"));
    Waiting(Subject(Leaf(group, "repair", "what somebody changed of a machine's VM by hand",
                         "machines repair web-1 --apply --wait",
                         [this](AdminClient& client) {
                           const auto request = ForMachine<admin::v1::RepairRequest>();
                           if (!arguments_.apply) {
                             return commands_.Show(client, &AdminClient::Stub::GetRepair, request,
                                                   FormatFindings);
                           }
                           return commands_.Start(client, &AdminClient::Stub::Repair, request);
                         }),
                    "machine", "name or id"))
        ->add_flag("--apply", arguments_.apply,
                   "put the disks where they belong; a machine that is replicated to them is "
                   "compared with them again, and its recovery points go");
    Waiting(Subject(Leaf(group, "remove", "end a machine's protection and remove its replica",
                         "machines remove web-1 --keep-disks",
                         [this](AdminClient& client) {
                           auto request = ForMachine<admin::v1::RemoveRequest>();
                           request.set_keep_disks(arguments_.keep_disks);
                           return commands_.Start(client, &AdminClient::Stub::Remove, request);
                         }),
                    "machine", "name or id"))
        ->add_flag("--keep-disks", arguments_.keep_disks,
                   "leave the replica's disks where they are");
  }

  void AddPoints() {
    CLI::App* const group = Group("points", "recovery points");
    Subject(Leaf(group, "list", "a machine's recovery points, oldest first", "points list web-1",
                 [this](AdminClient& client) {
                   return commands_.Show(client, &AdminClient::Stub::ListPoints,
                                         ForMachine<admin::v1::ListPointsRequest>(), FormatPoints);
                 }),
            "machine", "name or id");
    CLI::App* const create =
        Waiting(Leaf(group, "create", "make a recovery point now",
                     "points create web-1 --app-consistent --wait", [this](AdminClient& client) {
                       auto request = ForMachine<admin::v1::CreatePointRequest>();
                       request.set_all_machines(arguments_.all_machines);
                       if (arguments_.app_consistent) request.set_kind(types::v1::APP_CONSISTENT);
                       return commands_.Start(client, &AdminClient::Stub::CreatePoint, request);
                     }));
    CLI::App* const which = create->add_option_group("which");
    which->add_option("machine", arguments_.subject, "name or id");
    which->add_flag("--all", arguments_.all_machines,
                    "every machine that is Protected, in one job");
    which->require_option(1);
    create->add_flag("--app-consistent", arguments_.app_consistent,
                     "run the agent's pre_freeze hook first");
  }

  void AddServers() {
    CLI::App* const group = Group("servers", "process servers and master targets");
    Leaf(group, "list", "all servers", "servers list", [this](AdminClient& client) {
      return commands_.Show(client, &AdminClient::Stub::ListServers,
                            admin::v1::ListServersRequest(), FormatServers);
    });
    Subject(Leaf(group, "show", "one server, with its volumes and health", "servers show mt-1",
                 [this](AdminClient& client) {
                   admin::v1::GetServerRequest request;
                   request.set_server(arguments_.subject);
                   return commands_.Show(client, &AdminClient::Stub::GetServer, request,
                                         FormatServer);
                 }),
            "server", "name or id");
    Subject(Leaf(group, "identify", "say which VM a master target is, where several can be",
                 "servers identify mt-1 --vm dc1/mt-1",
                 [this](AdminClient& client) {
                   admin::v1::IdentifyServerRequest request;
                   request.set_server(arguments_.subject);
                   request.set_vm(arguments_.vm);
                   return commands_.Show(client, &AdminClient::Stub::IdentifyServer, request,
                                         FormatServer);
                 }),
            "server", "a master target's name or id")
        ->add_option("--vm", arguments_.vm,
                     "reference or path, as VM_AMBIGUOUS names them; empty: forget it")
        ->required();
  }

  absl::Status AddVcenter(AdminClient& client) {
    admin::v1::AddVcenterRequest request;
    request.set_name(arguments_.subject);
    request.set_address(arguments_.address);
    request.set_thumbprint(arguments_.thumbprint);
    request.set_user(arguments_.user);
    if (!arguments_.ca_file.empty()) {
      HW_ASSIGN_OR_RETURN(*request.mutable_trusted(),
                          ReadWholeFile(RealFileSystem(), arguments_.ca_file));
    }
    // Not an argument: those are seen by everybody on the host.
    if (arguments_.password_file == "-") {
      for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar())
        request.mutable_password()->push_back(static_cast<char>(c));
    } else {
      HW_ASSIGN_OR_RETURN(*request.mutable_password(),
                          ReadWholeFile(RealFileSystem(), arguments_.password_file));
      absl::StripTrailingAsciiWhitespace(request.mutable_password());
    }
    return commands_.Show(client, &AdminClient::Stub::AddVcenter, request, FormatVcenter);
  }

  void AddVcenters() {
    CLI::App* const group = Group("vcenters", "vCenters, and ESX hosts without one");
    CLI::App* const add =
        Subject(Leaf(group, "add", "connect to a vCenter and follow its inventory",
                     "vcenters add vc1 --address vc1.example.org --user homeward@vsphere.local "
                     "--password-file /root/vc1.password --thumbprint 72:A6:...",
                     [this](AdminClient& client) { return AddVcenter(client); }),
                "name", "how it is to be called");
    add->add_option("--address", arguments_.address, "host, or host:port")->required();
    add->add_option("--user", arguments_.user, "the account, with its domain")->required();
    add->add_option("--password-file", arguments_.password_file, "its password; - reads one line")
        ->required();
    add->add_option("--thumbprint", arguments_.thumbprint,
                    "SHA-256 of the server's certificate; without it and --ca-file it is shown");
    add->add_option("--ca-file", arguments_.ca_file, "PEM: CAs that signed the certificate");
    Leaf(group, "list", "all vCenters, and whether they are connected", "vcenters list",
         [this](AdminClient& client) {
           return commands_.Show(client, &AdminClient::Stub::ListVcenters,
                                 admin::v1::ListVcentersRequest(), FormatVcenters);
         });
    Subject(Leaf(group, "remove", "forget a vCenter and its account", "vcenters remove vc1",
                 [this](AdminClient& client) {
                   admin::v1::RemoveVcenterRequest request;
                   request.set_name(arguments_.subject);
                   return commands_.Show(client, &AdminClient::Stub::RemoveVcenter, request,
                                         FormatVcenter);
                 }),
            "name", "of the vCenter");
    Subject(Leaf(group, "refresh", "read a vCenter's inventory anew", "vcenters refresh vc1",
                 [this](AdminClient& client) {
                   admin::v1::RefreshVcenterRequest request;
                   request.set_name(arguments_.subject);
                   return commands_.Show(client, &AdminClient::Stub::RefreshVcenter, request,
                                         FormatVcenter);
                 }),
            "name", "of the vCenter");
  }

  void AddInventory() {
    CLI::App* const group = Group("inventory", "what the vCenters have");
    const auto leaf = [&](const char* name, const char* what,
                          std::string (*as_table)(const admin::v1::Inventory&),
                          void (*keep)(admin::v1::Inventory*)) {
      Leaf(group, name, what, absl::StrCat("inventory ", name, " --vcenter vc1").c_str(),
           [this, as_table, keep](AdminClient& client) -> absl::Status {
             admin::v1::GetInventoryRequest request;
             request.set_vcenter(arguments_.subject);
             admin::v1::Inventory inventory;
             HW_RETURN_IF_ERROR(client.Call(&AdminClient::Stub::GetInventory, request, &inventory));
             keep(&inventory);
             commands_.Print(inventory, as_table);
             return absl::OkStatus();
           })
          ->add_option("--vcenter", arguments_.subject, "of this one only");
    };
    leaf("hosts", "ESX hosts", FormatEsxHosts, [](admin::v1::Inventory* inventory) {
      inventory->clear_datastores();
      inventory->clear_vms();
    });
    leaf("datastores", "datastores, and which hosts mount them", FormatEsxDatastores,
         [](admin::v1::Inventory* inventory) {
           inventory->clear_hosts();
           inventory->clear_vms();
         });
    leaf("vms", "virtual machines", FormatVirtualMachines, [](admin::v1::Inventory* inventory) {
      inventory->clear_hosts();
      inventory->clear_datastores();
    });
  }

  void AddJobs() {
    CLI::App* const group = Group("jobs", "what the configuration server does and did");
    CLI::App* const list =
        Leaf(group, "list", "the newest jobs first", "jobs list --machine web-1",
             [this](AdminClient& client) {
               auto request = ForMachine<admin::v1::ListJobsRequest>();
               request.set_count_max(arguments_.count);
               return commands_.Show(client, &AdminClient::Stub::ListJobs, request, FormatJobs);
             });
    list->add_option("--machine", arguments_.subject, "of this machine only");
    list->add_option("--count", arguments_.count, "the newest so many; default 100");
    const auto job_request = [this] {
      admin::v1::GetJobRequest request;
      request.set_job_id(arguments_.subject);
      return request;
    };
    Subject(Leaf(group, "show", "one job with its tasks", "jobs show 00000001",
                 [this, job_request](AdminClient& client) {
                   return commands_.Show(client, &AdminClient::Stub::GetJob, job_request(),
                                         FormatJob);
                 }),
            "job", "id");
    Subject(
        Leaf(group, "watch", "progress until the job has ended", "jobs watch 00000001",
             [this](AdminClient& client) { return commands_.Watch(client, arguments_.subject); }),
        "job", "id");
    Waiting(Subject(Leaf(group, "cancel", "stop a job and undo what it did", "jobs cancel 00000001",
                         [this](AdminClient& client) {
                           admin::v1::CancelJobRequest request;
                           request.set_job_id(arguments_.subject);
                           return commands_.Start(client, &AdminClient::Stub::CancelJob, request);
                         }),
                    "job", "id"));
  }

  void AddRest() {
    Leaf(&app_, "health", "what is wrong anywhere", "health", [this](AdminClient& client) {
      return commands_.Show(client, &AdminClient::Stub::GetHealth, admin::v1::GetHealthRequest(),
                            FormatHealth);
    });
    CLI::App* const events = Leaf(
        &app_, "events", "what happened", "events --machine web-1", [this](AdminClient& client) {
          auto request = ForMachine<admin::v1::ListEventsRequest>();
          request.set_count_max(arguments_.count);
          return commands_.Show(client, &AdminClient::Stub::ListEvents, request, FormatEvents);
        });
    events->add_option("--machine", arguments_.subject, "of this machine only");
    events->add_option("--count", arguments_.count, "the newest so many; default 200");

    CLI::App* const enroll = Group("enroll", "letting new parts in");
    CLI::App* const passphrase =
        enroll->add_subcommand("passphrase", "what a new part needs to enrol")
            ->require_subcommand(1);
    const auto print = [this](AdminClient& client, auto method, auto request) -> absl::Status {
      return commands_.Show(
          client, method, request, +[](const admin::v1::Enrolment& enrolment) {
            return FormatEnrolmentFile({enrolment.passphrase(), enrolment.ca()});
          });
    };
    Leaf(passphrase, "show", "print the enrolment file", "enroll passphrase show > enrolment",
         [print](AdminClient& client) {
           return print(client, &AdminClient::Stub::ShowPassphrase,
                        admin::v1::ShowPassphraseRequest());
         });
    Leaf(passphrase, "rotate", "make a new passphrase; the old one is of no use any more",
         "enroll passphrase rotate > enrolment", [print](AdminClient& client) {
           return print(client, &AdminClient::Stub::RotatePassphrase,
                        admin::v1::RotatePassphraseRequest());
         });

    Leaf(&app_, "version", "of this program and of the server", "version",
         [this](AdminClient& client) {
           return commands_.Show(
               client, &AdminClient::Stub::GetVersion, admin::v1::GetVersionRequest(),
               +[](const admin::v1::Version& version) {
                 return absl::StrCat("homeward ", kVersion, ", server ", version.version(), " (",
                                     version.config_server_id(), ")\n");
               });
         });
    CLI::App* const completion =
        app_.add_subcommand("completion", "a script for the shell: bash or zsh");
    completion->footer("Example:\n  homeward completion bash > /etc/bash_completion.d/homeward");
    completion->add_option("shell", arguments_.subject, "bash or zsh")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh"}));
    completion->callback([this] {
      run_ = [this] {
        std::fputs(Completion(app_, arguments_.subject).c_str(), stdout);
        return static_cast<int>(kOk);
      };
    });
  }

  CLI::App& app_;
  Arguments& arguments_;
  Commands commands_;
  std::function<int()>& run_;
};

int Main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (IsUtf8(argv[i])) continue;
    std::fprintf(stderr, "argument %d is not UTF-8\n", i);
    return kUsage;
  }
  CLI::App app("homeward: brings virtual machines home", "homeward");
  Arguments arguments;
  std::function<int()> run;
  const CommandLine command_line(&app, &arguments, &run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kOk : kUsage;
  }
  return run();
}

}  // namespace
}  // namespace homeward

int main(int argc, char** argv) { return homeward::Main(argc, argv); }
