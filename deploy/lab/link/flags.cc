#include "deploy/lab/link/flags.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/bytes.h"
#include "common/os/file_system.h"
#include "common/status/status_macros.h"
#include "deploy/lab/link/link_config.h"

namespace homeward {
namespace {

constexpr int kWrongCommandLine = 2;

// Of a configuration that has no lines.
class FlagProblems : public ConfigProblems {
 public:
  void Add(const std::string& key, const std::string& text) override {
    problems_.push_back(absl::StrCat(key, ": ", text));
  }
  absl::Status ToStatus() const {
    if (problems_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrJoin(problems_, "\n"));
  }

 private:
  std::vector<std::string> problems_;
};

}  // namespace

int ParseLinkFlags(int argc, char** argv, LinkFlags* flags) {
  lab::v1::LinkConfig& config = flags->config;
  CLI::App app("the wire between two network namespaces, as slow and as lossy as it is told to be",
               "homeward-lab-link");
  app.set_help_flag("--help", "say this, then end");
  CLI::Option* const file = app.add_option("--config", flags->config_path,
                                           "a LinkConfig (proto/homeward/lab/v1), text format");
  app.add_flag("--check_config", flags->check_only,
               "say everything that is wrong with it, then end");
  const std::vector<CLI::Option*> instead = {
      app.add_option("--namespace_a", *config.mutable_a()->mutable_namespace_path(),
                     "/run/netns/NAME or /proc/PID/ns/net"),
      app.add_option("--device_a", *config.mutable_a()->mutable_device(), "the device there"),
      app.add_option("--namespace_b", *config.mutable_b()->mutable_namespace_path(),
                     "the other end"),
      app.add_option("--device_b", *config.mutable_b()->mutable_device(), "the device there"),
      app.add_option_function<uint32_t>(
          "--mtu", [&config](uint32_t bytes) { config.set_mtu_bytes(bytes); }, "default 1500"),
      app.add_option_function<uint64_t>(
          "--seed", [&config](uint64_t seed) { config.set_seed(seed); },
          "of loss and jitter; default 1"),
      app.add_option_function<uint64_t>(
          "--memory_bytes_max", [&config](uint64_t bytes) { config.set_memory_bytes_max(bytes); },
          "what each direction may hold; default 64 MiB"),
      app.add_flag_callback(
          "--offload", [&config] { config.set_offload(true); }, "let TCP hand over large segments"),
      app.add_option(
          "--both", flags->both,
          "both directions: \"bandwidth=20mbit latency=40ms jitter=5ms loss=0.1% queue=100ms "
          "burst=64KiB reorder=no\""),
      app.add_option("--a_to_b", flags->a_to_b, "one direction, after --both"),
      app.add_option("--b_to_a", flags->b_to_a, "the other"),
  };
  for (CLI::Option* const option : instead) file->excludes(option);
  CLI::Option* const control = app.add_option("--control_socket", *config.mutable_control_socket(),
                                              "where orders are taken");
  control->excludes(file);
  app.add_option(
         "--order", flags->order,
         "gives an order to the link that serves --control_socket, then ends: set DIRECTION "
         "KEY=VALUE..., cut [DIRECTION], mend [DIRECTION], show")
      ->needs(control);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kWrongCommandLine;
  }
  return -1;
}

absl::StatusOr<lab::v1::LinkConfig> ReadLinkConfig(const LinkFlags& flags) {
  lab::v1::LinkConfig config = flags.config;
  if (!flags.config_path.empty()) {
    HW_ASSIGN_OR_RETURN(const std::string text,
                        ReadWholeFile(RealFileSystem(), flags.config_path, kMiB));
    config.Clear();
    HW_RETURN_IF_ERROR(ParseConfig(flags.config_path, text, CheckLinkConfig, &config));
    return config;
  }
  for (lab::v1::LinkDirection* const direction :
       {config.mutable_a_to_b(), config.mutable_b_to_a()}) {
    if (!flags.both.empty())
      HW_RETURN_IF_ERROR(Annotate(ChangeDirection(flags.both, direction), "--both"));
  }
  if (!flags.a_to_b.empty())
    HW_RETURN_IF_ERROR(
        Annotate(ChangeDirection(flags.a_to_b, config.mutable_a_to_b()), "--a_to_b"));
  if (!flags.b_to_a.empty())
    HW_RETURN_IF_ERROR(
        Annotate(ChangeDirection(flags.b_to_a, config.mutable_b_to_a()), "--b_to_a"));
  FlagProblems problems;
  CheckLinkConfig(config, &problems);
  HW_RETURN_IF_ERROR(problems.ToStatus());
  return config;
}

}  // namespace homeward
