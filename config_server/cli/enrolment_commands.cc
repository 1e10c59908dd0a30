// The group `enrol`.
#include "common/control/enrolment.h"
#include "config_server/cli/commands.h"

namespace homeward {
namespace {

using Stub = AdminClient::Stub;

std::string FormatEnrolment(const admin::v1::Enrolment& enrolment) {
  return FormatEnrolmentFile({enrolment.passphrase(), enrolment.ca()});
}

CLI::App* AddEnrolmentGroup(CommandLine* line, const std::string& name) {
  CLI::App* const enrol = line->Group(name, "let new components join");
  CLI::App* const passphrase =
      enrol->add_subcommand("passphrase", "the passphrase that a new component needs to enrol")
          ->require_subcommand(1);
  line->Show(passphrase,
             {"show", "print the enrolment file: the passphrase and the CA certificate",
              "enrol passphrase show > enrolment"},
             &Stub::ShowPassphrase, FormatEnrolment);
  line->Show(passphrase,
             {"rotate", "replace the passphrase, so that the old one no longer works, and print it",
              "enrol passphrase rotate > enrolment"},
             &Stub::RotatePassphrase, FormatEnrolment);
  return enrol;
}

}  // namespace

void AddEnrolmentCommands(CommandLine* line) {
  AddEnrolmentGroup(line, "enrol");
  // The spelling of earlier versions, for scripts: without a heading it is in no help.
  AddEnrolmentGroup(line, "enroll")->group("");
}

}  // namespace homeward
