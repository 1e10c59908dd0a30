// The group `vcenters`.
#include "config_server/cli/arguments.h"
#include "config_server/cli/commands.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using admin::v1::AddVcenterRequest;
using Stub = AdminClient::Stub;

void AddAdd(CommandLine* line, CLI::App* vcenters) {
  AddVcenterRequest* const request = line->New<AddVcenterRequest>();
  // Never an argument itself: everybody on a host can read those.
  FileContent* const password = line->New<FileContent>();
  FileContent* const trusted = line->New<FileContent>();
  CLI::App* const add =
      line->Add(vcenters,
                {"add", "connect to a vCenter, or an ESX host, and follow its inventory",
                 "vcenters add vc1 --address vc1.example.org --user homeward@vsphere.local "
                 "--password-file /root/vc1.password --ca-file /root/vc1-ca.pem"},
                [=](Session& session) {
                  *request->mutable_password() = ReadSecret(*password);
                  *request->mutable_trusted() = trusted->text;
                  return session.Show(&Stub::AddVcenter, *request, FormatVcenter);
                });
  const Command<AddVcenterRequest> command = {add, request};
  AddText(command, "name", &AddVcenterRequest::mutable_name, "name for the vCenter in Homeward")
      ->required();
  AddText(command, "--address", &AddVcenterRequest::mutable_address, "host or host:port")
      ->required();
  AddText(command, "--user", &AddVcenterRequest::mutable_user, "account, with its domain")
      ->required();
  AddFile(add, "--password-file", password,
          "file with the account's password; - reads a line from standard input")
      ->required();
  AddText(command, "--thumbprint", &AddVcenterRequest::mutable_thumbprint,
          "SHA-256 thumbprint of the server's certificate. Without this and --ca-file the command "
          "is refused and shows the thumbprint, for you to check");
  AddFile(add, "--ca-file", trusted, "PEM file with the CAs that signed the server's certificate");
}

}  // namespace

void AddVcenterCommands(CommandLine* line) {
  CLI::App* const vcenters =
      line->Group("vcenters", "vCenters, and ESX hosts that no vCenter manages");
  AddAdd(line, vcenters);
  line->Show(vcenters,
             {"list", "list all vCenters, and whether they are connected", "vcenters list"},
             &Stub::ListVcenters, FormatVcenters);
  const auto remove =
      line->Show(vcenters, {"remove", "forget a vCenter and its account", "vcenters remove vc1"},
                 &Stub::RemoveVcenter, FormatVcenter);
  AddText(remove, "name", &admin::v1::RemoveVcenterRequest::mutable_name, "name of the vCenter")
      ->required();
  const auto refresh =
      line->Show(vcenters, {"refresh", "read a vCenter's inventory again", "vcenters refresh vc1"},
                 &Stub::RefreshVcenter, FormatVcenter);
  AddText(refresh, "name", &admin::v1::RefreshVcenterRequest::mutable_name, "name of the vCenter")
      ->required();
}

}  // namespace homeward
