#include "common/vsphere/operations.h"

#include <algorithm>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/clock/clock.h"
#include "common/status/status_macros.h"

namespace homeward::vsphere {
namespace {

absl::StatusOr<Ref> BeginTask(Session& session, absl::string_view method, const Ref& self,
                              const XmlWriter& arguments, CallLimit limit) {
  HW_ASSIGN_OR_RETURN(const Reply reply, session.Call(method, self, arguments, limit));
  if (reply.reference().type != "Task")
    return absl::InternalError(absl::StrCat(method, " returned no task"));
  return reply.reference();
}

}  // namespace

const std::vector<std::string>& NeededPrivileges() {
  static const auto& privileges = *new std::vector<std::string>{
      "Datastore.AllocateSpace",
      "Datastore.Browse",
      "Datastore.FileManagement",
      "Network.Assign",
      "Resource.AssignVMToPool",
      "System.Read",
      "System.View",
      "VirtualMachine.Config.AddExistingDisk",
      "VirtualMachine.Config.AddNewDisk",
      "VirtualMachine.Config.AddRemoveDevice",
      "VirtualMachine.Config.AdvancedConfig",
      "VirtualMachine.Config.Annotation",
      "VirtualMachine.Config.RawDevice",
      "VirtualMachine.Config.RemoveDisk",
      "VirtualMachine.Config.Settings",
      "VirtualMachine.Interact.PowerOff",
      "VirtualMachine.Interact.PowerOn",
      "VirtualMachine.Inventory.Create",
      "VirtualMachine.Inventory.Delete",
      "VirtualMachine.Inventory.Register",
      "VirtualMachine.Inventory.Unregister",
      "VirtualMachine.State.RemoveSnapshot",
  };
  return privileges;
}

absl::StatusOr<std::vector<std::string>> MissingPrivileges(Session& session,
                                                           const std::vector<Ref>& entities,
                                                           CallLimit limit) {
  XmlWriter arguments;
  for (const Ref& entity : entities) arguments.Reference("entity", entity);
  arguments.Text("sessionId", session.session_key());
  for (const std::string& privilege : NeededPrivileges()) arguments.Text("privId", privilege);
  HW_ASSIGN_OR_RETURN(const Reply reply,
                      session.Call("HasPrivilegeOnEntities",
                                   session.content().authorization_manager, arguments, limit));
  std::set<std::string> granted, missing;
  for (const pugi::xml_node entity : reply.response().children("returnval")) {
    for (const pugi::xml_node one : entity.children("privAvailability")) {
      (one.child("isGranted").text().as_bool() ? granted : missing)
          .insert(one.child("privId").text().as_string());
    }
  }
  for (const std::string& privilege : NeededPrivileges()) {
    if (granted.count(privilege) == 0) missing.insert(privilege);
  }
  return std::vector<std::string>(missing.begin(), missing.end());
}

absl::StatusOr<Ref> BeginPowerOn(Session& session, const Ref& vm, CallLimit limit) {
  return BeginTask(session, "PowerOnVM_Task", vm, {}, limit);
}

absl::StatusOr<Ref> BeginPowerOff(Session& session, const Ref& vm, CallLimit limit) {
  return BeginTask(session, "PowerOffVM_Task", vm, {}, limit);
}

absl::StatusOr<Ref> BeginReconfigure(Session& session, const Ref& vm, const VmChange& change,
                                     CallLimit limit) {
  XmlWriter arguments;
  WriteVmChange("spec", change, &arguments);
  return BeginTask(session, "ReconfigVM_Task", vm, arguments, limit);
}

absl::StatusOr<Ref> BeginCreateVm(Session& session, const VmPlace& place, const VmToCreate& vm,
                                  CallLimit limit) {
  XmlWriter arguments;
  WriteVmToCreate("config", vm, &arguments);
  arguments.Reference("pool", place.resource_pool).Reference("host", place.host);
  return BeginTask(session, "CreateVM_Task", place.folder, arguments, limit);
}

absl::StatusOr<Ref> BeginDestroy(Session& session, const Ref& vm, CallLimit limit) {
  return BeginTask(session, "Destroy_Task", vm, {}, limit);
}

absl::StatusOr<Ref> BeginRemoveAllSnapshots(Session& session, const Ref& vm, CallLimit limit) {
  XmlWriter arguments;
  arguments.Bool("consolidate", true);
  return BeginTask(session, "RemoveAllSnapshots_Task", vm, arguments, limit);
}

absl::StatusOr<Ref> BeginDeleteFile(Session& session, const std::string& path,
                                    const Ref& datacenter, CallLimit limit) {
  XmlWriter arguments;
  arguments.Text("name", path).Reference("datacenter", datacenter);
  return BeginTask(session, "DeleteDatastoreFile_Task", session.content().file_manager, arguments,
                   limit);
}

absl::Status Unregister(Session& session, const Ref& vm, CallLimit limit) {
  return session.Call("UnregisterVM", vm, {}, limit).status();
}

absl::Status ShutDownGuest(Session& session, const Ref& vm, CallLimit limit) {
  return session.Call("ShutdownGuest", vm, {}, limit).status();
}

absl::Status MakeDirectory(Session& session, const std::string& path, const Ref& datacenter,
                           CallLimit limit) {
  XmlWriter arguments;
  arguments.Text("name", path).Reference("datacenter", datacenter);
  arguments.Bool("createParentDirectories", true);
  return session.Call("MakeDirectory", session.content().file_manager, arguments, limit).status();
}

namespace {

// One property of some objects, those that are not there left out: what it has, object by object.
absl::Status ReadProperty(Session& session, const std::vector<Ref>& objects, const char* path,
                          CallLimit limit, const std::function<void(pugi::xml_node value)>& visit) {
  XmlWriter arguments;
  arguments.Begin("specSet").Begin("propSet").Text("type", objects.front().type);
  arguments.Text("pathSet", path).End();
  for (const Ref& ref : objects) arguments.Begin("objectSet").Reference("obj", ref).End();
  arguments.Bool("reportMissingObjectsInResults", true).End();
  arguments.Begin("options").End();
  HW_ASSIGN_OR_RETURN(
      const Reply reply,
      session.Call("RetrievePropertiesEx", session.content().property_collector, arguments, limit));
  for (const pugi::xml_node object : reply.value().children("objects")) {
    for (const pugi::xml_node property : object.children("propSet")) visit(property.child("val"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> IsAtWork(Session& session, const std::vector<Ref>& vms, CallLimit limit) {
  std::vector<Ref> tasks;
  if (vms.empty()) return false;
  HW_RETURN_IF_ERROR(ReadProperty(session, vms, "recentTask", limit, [&](pugi::xml_node value) {
    for (const pugi::xml_node task : value.children()) tasks.push_back(ReadRef(task));
  }));
  if (tasks.empty()) return false;
  bool at_work = false;
  HW_RETURN_IF_ERROR(ReadProperty(session, tasks, "info.state", limit, [&](pugi::xml_node value) {
    const absl::string_view state = value.text().as_string();
    at_work = at_work || state == "queued" || state == "running";
  }));
  return at_work;
}

absl::StatusOr<Ref> AwaitTask(Session& session, const Ref& task, absl::Duration patience,
                              const std::function<void(int percent)>& progress,
                              const std::atomic<bool>* cancelled) {
  CallLimit limit;
  limit.cancelled = cancelled;
  const RealClock clock;
  const absl::Duration end = clock.Monotonic() + patience;
  // A collector of its own: one that others wait on would give its updates to them.
  HW_ASSIGN_OR_RETURN(
      const Reply made,
      session.Call("CreatePropertyCollector", session.content().property_collector, {}, limit));
  const Ref collector = made.reference();
  const absl::Cleanup destroy = [&] {
    session.Call("DestroyPropertyCollector", collector, {}).IgnoreError();
  };
  XmlWriter filter;
  filter.Begin("spec").Begin("propSet").Text("type", "Task");
  for (const char* const path : {"info.state", "info.progress", "info.error", "info.result"})
    filter.Text("pathSet", path);
  filter.End().Begin("objectSet").Reference("obj", task).End().End().Bool("partialUpdates", false);
  HW_RETURN_IF_ERROR(session.Call("CreateFilter", collector, filter, limit).status());

  std::string version, state;
  Ref result;
  absl::Status fault;
  const auto note = [&](pugi::xml_node change) {
    const absl::string_view name = change.child("name").text().as_string();
    const pugi::xml_node value = change.child("val");
    if (name == "info.state") state = value.text().as_string();
    if (name == "info.result" && TypeOf(value) == "ManagedObjectReference") result = ReadRef(value);
    if (name == "info.progress" && progress != nullptr && value) progress(value.text().as_int());
    if (name == "info.error" && value.child("fault"))
      fault = ReadFault(value.child("fault"), value.child("localizedMessage").text().as_string());
  };
  while (clock.Monotonic() < end) {
    const absl::Duration left =
        std::min(end - clock.Monotonic(), absl::Duration(absl::Seconds(30)));
    XmlWriter arguments;
    arguments.Text("version", version).Begin("options");
    arguments.Number("maxWaitSeconds", absl::ToInt64Seconds(left) + 1).End();
    limit.time = left + absl::Seconds(30);
    HW_ASSIGN_OR_RETURN(const Reply reply,
                        session.Call("WaitForUpdatesEx", collector, arguments, limit));
    const pugi::xml_node updates = reply.value();
    if (!updates) continue;
    version = updates.child("version").text().as_string();
    for (const pugi::xml_node set : updates.children("filterSet")) {
      for (const pugi::xml_node object : set.children("objectSet")) {
        for (const pugi::xml_node change : object.children("changeSet")) note(change);
      }
    }
    if (state == "success") return result;
    if (state == "error") {
      return fault.ok() ? absl::InternalError(absl::StrCat("task ", task.value,
                                                           " failed, and says "
                                                           "nothing of why"))
                        : fault;
    }
  }
  return absl::DeadlineExceededError(absl::StrCat("task ", task.value, " is ",
                                                  state.empty() ? "not begun" : state, " after ",
                                                  absl::FormatDuration(patience)));
}

}  // namespace homeward::vsphere
