#include "common/daemon/daemon.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/daemon/supervisor.h"
#include "common/net/http_server.h"
#include "common/os/host.h"
#include "common/rpc/problem_status.h"

namespace homeward {
namespace {

// systemd is told to wait 10 s; what has not stopped by then would be killed without a word.
constexpr absl::Duration kStopLimit = absl::Seconds(9);
// The exit code; that of a wrong configuration too.
constexpr int kWrongCommandLine = 2;

struct Flags {
  std::string config_path;
  bool check_only = false;
  const DaemonCommand* command = nullptr;
  std::string argument;  // of the command
};

// Returns the exit code when there is nothing to run.
int ParseFlags(int argc, char** argv, const DaemonProgram& program, Flags* flags) {
  CLI::App app(program.purpose, program.name);
  app.set_help_flag("--help", "say this, then end");
  app.set_version_flag("--version", absl::StrCat(program.name, " ", kVersion),
                       "say the version, then end");
  app.add_option("--config", flags->config_path,
                 "the configuration, protobuf text format; samples with every key are in "
                 "deploy/config")
      ->type_name("FILE")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_flag("--check_config", flags->check_only,
               "say everything that is wrong with it, then end");
  for (const DaemonCommand& command : program.commands) {
    const std::string flag = absl::StrCat("--", command.flag);
    const std::string purpose = absl::StrCat(command.purpose, ", then end");
    if (command.argument.empty()) {
      app.add_flag_callback(
          flag, [flags, &command] { flags->command = &command; }, purpose);
      continue;
    }
    const auto take = [flags, &command](const std::string& argument) {
      flags->command = &command;
      flags->argument = argument;
    };
    app.add_option_function<std::string>(flag, take, purpose)->type_name(command.argument);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongCommandLine;
  }
  return -1;
}

absl::Status ReadConfig(const DaemonProgram& program, const std::string& path,
                        google::protobuf::Message* config) {
  const absl::StatusOr<std::string> text = ReadWholeFile(RealFileSystem(), path, kMiB);
  if (!text.ok()) return text.status();
  return ParseConfig(path, *text, program.check, config);
}

// The sub-message that every configuration has under this name.
template <typename Part>
Part PartOf(const google::protobuf::Message& config, const char* field) {
  const google::protobuf::FieldDescriptor* const found =
      config.GetDescriptor()->FindFieldByName(field);
  Part part;
  part.CopyFrom(config.GetReflection()->GetMessage(config, found));
  return part;
}

void ApplyLogLevel(const google::protobuf::Message& config) {
  const int level = PartOf<config::v1::Log>(config, "log").level();
  SetLogLevel(level == 0 ? LogLevel::kInfo : static_cast<LogLevel>(level - 1));
}

HttpReply HealthPage(Daemon& daemon) {
  HttpReply reply;
  for (const types::v1::HealthIssue& issue : daemon.Health()) {
    const bool critical = issue.severity() == types::v1::CRITICAL;
    if (critical) reply.status = 503;
    absl::StrAppend(&reply.body, critical ? "CRITICAL " : "WARNING ", issue.problem().id(), ": ",
                    issue.problem().message(), "\n");
  }
  if (reply.body.empty()) reply.body = "OK\n";
  return reply;
}

HttpReply MetricsPage(Daemon& daemon) {
  Metrics metrics;
  metrics.SetGauge("homeward_resident_bytes_max", "Peak resident memory of the process, in bytes",
                   {}, static_cast<double>(PeakResidentBytes()));
  daemon.Measure(&metrics);
  return {200, "text/plain; version=0.0.4; charset=utf-8", metrics.Render()};
}

int Run(const DaemonProgram& program, const Flags& flags, const google::protobuf::Message& config) {
  // Before any thread is there, so that all of them inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ApplyLogLevel(config);
  TuneProcess();

  absl::Notification stopping;
  absl::Mutex mutex;
  Daemon* running = nullptr;  // guarded by mutex: SIGHUP may come before it is there
  std::thread waiter([&] {
    int signal = 0;
    while (sigwait(&signals, &signal) == 0 && signal == SIGHUP) {
      std::unique_ptr<google::protobuf::Message> fresh = program.new_config();
      const absl::Status read = ReadConfig(program, flags.config_path, fresh.get());
      absl::MutexLock lock(&mutex);
      if (!read.ok()) {
        LogError("config.refused", {{"error", read}});
      } else if (running != nullptr) {
        ApplyLogLevel(*fresh);
        running->Reload(*fresh);
        LogInfo("config.reloaded", {{"path", flags.config_path}});
      }
    }
    LogInfo("daemon.stopping", {{"signal", signal}});
    TellStopping();
    stopping.Notify();
  });

  RealClock clock;
  int exit_code = 0;
  {
    absl::StatusOr<std::unique_ptr<Daemon>> daemon =
        program.start(config, {RealFileSystem(), clock, stopping});
    std::unique_ptr<HttpServer> http;
    if (daemon.ok()) {
      const auto monitoring = PartOf<config::v1::Monitoring>(config, "monitoring");
      if (!monitoring.listen_address().empty()) {
        Daemon& served = **daemon;
        auto started = HttpServer::Start(monitoring.listen_address(),
                                         {{"/health", [&served] { return HealthPage(served); }},
                                          {"/metrics", [&served] { return MetricsPage(served); }}});
        if (started.ok()) {
          http = *std::move(started);
        } else {
          daemon = started.status();
        }
      }
    }
    if (!daemon.ok()) {
      const bool asked_to_stop = stopping.HasBeenNotified();
      if (!asked_to_stop) {
        LogError("daemon.start_failed", {{"error", Describe(daemon.status())}});
        exit_code = 1;
      }
      ::kill(::getpid(), SIGTERM);
    } else {
      {
        absl::MutexLock lock(&mutex);
        running = daemon->get();
      }
      LogInfo("daemon.ready", {{"name", program.name}, {"version", kVersion}});
      TellReady();
      stopping.WaitForNotification();
      absl::MutexLock lock(&mutex);
      running = nullptr;
    }
    absl::Notification stopped;
    std::thread watchdog([&] {
      if (stopped.WaitForNotificationWithTimeout(kStopLimit)) return;
      LogError("daemon.stop_too_slow", {{"limit", kStopLimit}});
      ::_exit(1);
    });
    http.reset();
    if (daemon.ok()) daemon->reset();
    stopped.Notify();
    watchdog.join();
  }
  waiter.join();
  LogInfo("daemon.stopped");
  return exit_code;
}

}  // namespace

int DaemonMain(int argc, char** argv, const DaemonProgram& program) {
  Flags flags;
  if (const int code = ParseFlags(argc, argv, program, &flags); code >= 0) return code;
  const std::unique_ptr<google::protobuf::Message> config = program.new_config();
  if (absl::Status read = ReadConfig(program, flags.config_path, config.get()); !read.ok()) {
    std::fprintf(stderr, "%s\n", std::string(read.message()).c_str());
    return kWrongCommandLine;
  }
  if (flags.check_only) {
    std::printf("%s: OK\n", flags.config_path.c_str());
    return 0;
  }
  if (flags.command != nullptr) {
    const absl::StatusOr<std::string> told = flags.command->run(*config, flags.argument);
    if (told.ok()) {
      std::printf("%s", told->c_str());
    } else {
      std::fprintf(stderr, "%s\n", std::string(told.status().message()).c_str());
    }
    return told.ok() ? 0 : 1;
  }
  return Run(program, flags, *config);
}

}  // namespace homeward
