#include "common/vsphere/follower.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status/status_macros.h"
#include "common/vsphere/decode.h"
#include "common/vsphere/fault.h"

namespace homeward::vsphere {
namespace {

constexpr int kUpdatesMax = 500;   // in one reply
constexpr int kRepliesMax = 1000;  // that say there is more
constexpr int kPageObjects = 100;
constexpr absl::Duration kAnswerTime = absl::Seconds(60);

void WritePropertySpecs(XmlWriter* out, bool watched) {
  for (const TypeProperties& type : FollowedTypes()) {
    out->Begin("propSet").Text("type", type.type);
    for (const char* const path : watched ? type.watched : type.all) out->Text("pathSet", path);
    out->End();
  }
}

}  // namespace

absl::Status Follower::Begin(CallLimit limit) {
  const ServiceContent& content = session_.content();
  const uint64_t login = session_.logins();
  // Those of an ended session are gone with it.
  if (login == made_in_) {
    session_.Call("DestroyPropertyFilter", filter_, {}, limit).IgnoreError();
    session_.Call("DestroyView", view_, {}, limit).IgnoreError();
  }
  inventory_.instance_uuid = content.instance_uuid;
  inventory_.product = content.product;
  inventory_.is_vcenter = content.is_vcenter;
  XmlWriter view;
  view.Reference("container", content.root_folder);
  for (const TypeProperties& type : FollowedTypes()) view.Text("type", type.type);
  view.Bool("recursive", true);
  HW_ASSIGN_OR_RETURN(const Reply made,
                      session_.Call("CreateContainerView", content.view_manager, view, limit));
  XmlWriter filter;
  filter.Begin("spec");
  WritePropertySpecs(&filter, /*watched=*/true);
  filter.Begin("objectSet").Reference("obj", made.reference()).Bool("skip", true);
  filter.Begin("selectSet", "TraversalSpec").Text("name", "all").Text("type", "ContainerView");
  filter.Text("path", "view").Bool("skip", false).End();
  filter.End();
  // A view of everything leaves out where it begins.
  filter.Begin("objectSet").Reference("obj", content.root_folder).Bool("skip", false).End();
  filter.End().Bool("partialUpdates", false);
  HW_ASSIGN_OR_RETURN(const Reply filtered,
                      session_.Call("CreateFilter", content.property_collector, filter, limit));
  view_ = made.reference();
  filter_ = filtered.reference();
  made_in_ = login;
  if (session_.logins() != login) return absl::AbortedError("the session ended meanwhile");
  login_ = login;
  version_.clear();
  reading_all_ = true;
  seen_.clear();
  return absl::OkStatus();
}

absl::StatusOr<bool> Follower::Wait(absl::Duration patience, const std::atomic<bool>* cancelled) {
  CallLimit limit;
  limit.time = kAnswerTime;
  limit.cancelled = cancelled;
  if (login_ == 0 || login_ != session_.logins()) HW_RETURN_IF_ERROR(Begin(limit));
  bool any = false, more = true;
  for (int replies = 0; more; ++replies) {
    if (replies == kRepliesMax) {
      return absl::InternalError(
          absl::StrCat("the vCenter has more to say after each of ", replies, " replies"));
    }
    XmlWriter arguments;
    arguments.Text("version", version_).Begin("options");
    // Only the first waits, and not while something is to be read: what a reply was too small for
    // is there already.
    const bool at_once = any || reading_all_ || !changed_.empty();
    arguments.Number("maxWaitSeconds", at_once ? 0 : absl::ToInt64Seconds(patience));
    arguments.Number("maxObjectUpdates", kUpdatesMax).End();
    limit.time = kAnswerTime + patience;
    const absl::StatusOr<Reply> reply =
        session_.Call("WaitForUpdatesEx", session_.content().property_collector, arguments, limit);
    if (FaultTypeOf(reply.status()) == "InvalidCollectorVersion") {
      login_ = 0;  // Begin anew.
      return absl::AbortedError(reply.status().message());
    }
    HW_RETURN_IF_ERROR(reply.status());
    // A new session knows no filter of the last one: it had nothing to say.
    if (login_ != session_.logins()) return absl::AbortedError("the session ended meanwhile");
    const pugi::xml_node updates = reply->value();
    if (!updates) break;
    any = true;
    Note(updates);
    version_ = updates.child("version").text().as_string();
    more = updates.child("truncated").text().as_bool();
  }
  if (reading_all_) {
    reading_all_ = false;
    const auto drop_unseen = [&](auto* objects) {
      for (auto it = objects->begin(); it != objects->end();)
        it = seen_.count(it->first) != 0 ? std::next(it) : objects->erase(it);
    };
    drop_unseen(&inventory_.folders);
    drop_unseen(&inventory_.hosts);
    drop_unseen(&inventory_.datastores);
    drop_unseen(&inventory_.vms);
    seen_.clear();
  }
  any = any || !changed_.empty();  // of a call before, which could not read it
  HW_RETURN_IF_ERROR(ReadChanged(limit));
  return any;
}

void Follower::Note(pugi::xml_node update_set) {
  for (const pugi::xml_node filter : update_set.children("filterSet")) {
    for (const pugi::xml_node object : filter.children("objectSet")) {
      const Ref ref = ReadRef(object.child("obj"));
      if (object.child("kind").text().as_string() == absl::string_view("leave")) {
        Forget(ref);
      } else {
        changed_.insert(ref);
        if (reading_all_) seen_.insert(ref);
      }
    }
  }
}

void Follower::Forget(const Ref& ref) {
  changed_.erase(ref);
  inventory_.folders.erase(ref);
  inventory_.hosts.erase(ref);
  inventory_.datastores.erase(ref);
  inventory_.vms.erase(ref);
}

absl::Status Follower::ReadChanged(CallLimit limit) {
  while (!changed_.empty()) {
    std::vector<Ref> page(
        changed_.begin(),
        std::next(changed_.begin(), std::min<std::ptrdiff_t>(kPageObjects, std::ssize(changed_))));
    HW_ASSIGN_OR_RETURN(const std::set<Ref> missing,
                        ReadObjects(session_, page, limit, &inventory_));
    for (const Ref& gone : missing) Forget(gone);
    for (const Ref& ref : page) changed_.erase(ref);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::set<Ref>> ReadObjects(Session& session, const std::vector<Ref>& refs,
                                          CallLimit limit, Inventory* inventory) {
  XmlWriter arguments;
  arguments.Begin("specSet");
  WritePropertySpecs(&arguments, /*watched=*/false);
  for (const Ref& ref : refs) arguments.Begin("objectSet").Reference("obj", ref).End();
  arguments.Bool("reportMissingObjectsInResults", true).End();
  arguments.Begin("options").Number("maxObjects", kPageObjects).End();
  const Ref& collector = session.content().property_collector;
  std::set<Ref> missing(refs.begin(), refs.end());
  const char* method = "RetrievePropertiesEx";
  // Each further page has something of what was asked for.
  for (size_t pages = 0; pages <= refs.size(); ++pages) {
    HW_ASSIGN_OR_RETURN(const Reply reply, session.Call(method, collector, arguments, limit));
    const pugi::xml_node value = reply.value();
    for (const pugi::xml_node object : value.children("objects")) {
      const Ref ref = ReadRef(object.child("obj"));
      if (!object.child("propSet")) continue;  // It went away, or nothing of it may be seen.
      DecodeObject(object, inventory);
      missing.erase(ref);
    }
    const std::string token = value.child("token").text().as_string();
    if (token.empty()) return missing;
    method = "ContinueRetrievePropertiesEx";
    arguments = XmlWriter();
    arguments.Text("token", token);
  }
  return absl::InternalError(
      absl::StrCat("the vCenter has more than ", refs.size(), " pages for as many objects"));
}

}  // namespace homeward::vsphere
