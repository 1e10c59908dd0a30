#include "process_server/host/relays.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/log/log.h"

namespace homeward {
namespace {

// Of batches on their way past the spool, all streams.
constexpr uint64_t kMemoryBytesMax = 128 * kMiB;

// But for what changes while the stream is the same.
std::string Unchanging(control::v1::RelayedStream stream) {
  stream.clear_fence();
  stream.clear_data_channel_port();
  return stream.SerializeAsString();
}

std::string KeyOf(const control::v1::RelayedStream& stream) {
  return absl::StrCat(stream.machine_id(), "-g", stream.generation());
}

}  // namespace

absl::StatusOr<HostedInbox> Relays::Find(const std::string& machine_id) const {
  absl::MutexLock lock(&mutex_);
  for (auto it = relays_.rbegin(); it != relays_.rend(); ++it) {
    const std::shared_ptr<HostedRelay>& relay = it->second;
    if (relay->stream().machine_id() != machine_id) continue;
    HostedInbox inbox = relay->inbox();
    inbox.keep_alive = relay;
    return inbox;
  }
  return absl::UnavailableError(
      absl::StrCat("machine ", machine_id, " is not assigned to this process server (yet)"));
}

void Relays::Want(const control::v1::ProcessServerDesired& desired) {
  desired_ = desired;
  informed_ = true;
  Reconcile();
}

void Relays::Reconcile() {
  if (!informed_) return;
  Wanted wanted;
  for (const control::v1::RelayedStream& stream : desired_.streams())
    wanted[KeyOf(stream)] = &stream;
  std::map<std::string, std::shared_ptr<HostedRelay>> ended;
  {
    absl::MutexLock lock(&mutex_);
    for (auto it = relays_.begin(); it != relays_.end();) {
      const auto found = wanted.find(it->first);
      const bool keep = found != wanted.end() && !it->second->broken() &&
                        Unchanging(*found->second) == Unchanging(it->second->stream());
      if (keep) {
        it->second->SetFence(found->second->fence());
        ++it;
      } else {
        ended.insert(relays_.extract(it++));
      }
    }
  }
  for (const auto& [key, relay] : ended) relay->Retire();
  ended.clear();
  std::erase_if(links_, [](const auto& link) { return link.second.use_count() == 1; });
  RemoveOldSpools(wanted);
  for (const auto& [key, stream] : wanted) Start(key, *stream);
  absl::MutexLock lock(&mutex_);
  const uint64_t streams = std::max<uint64_t>(1, relays_.size());
  const uint64_t share = std::max(kShareBytesMin, limits_.cache_bytes_max / streams);
  const uint64_t memory = std::clamp(kMemoryBytesMax / streams, kMiB, 24 * kMiB);
  for (const auto& [key, relay] : relays_) relay->SetBytesMax(share, memory);
}

void Relays::Start(const std::string& key, const control::v1::RelayedStream& stream) {
  {
    absl::MutexLock lock(&mutex_);
    if (relays_.contains(key)) return;
  }
  Relay::Options options = common_;
  options.machine_id = stream.machine_id();
  options.generation = stream.generation();
  options.fence = stream.fence();
  options.disk_bytes = {stream.disk_bytes().begin(), stream.disk_bytes().end()};
  options.spool.directory = JoinPath(limits_.cache_directory, key);
  std::shared_ptr<LinkMeter>& link = links_[stream.master_target_address()];
  if (link == nullptr) link = std::make_shared<LinkMeter>();
  options.link = link;
  auto relay = HostedRelay::Start(runtime_, stream, std::move(options));
  if (!relay.ok())
    return LogError("stream.cannot_begin", {{"stream", key}, {"error", relay.status()}});
  LogInfo("stream.began", {{"stream", key}, {"master_target", stream.master_target_address()}});
  absl::MutexLock lock(&mutex_);
  relays_[key] = *std::move(relay);
}

// Soft state of streams that are not ours any more.
void Relays::RemoveOldSpools(const Wanted& wanted) {
  const auto names = runtime_.files.List(limits_.cache_directory);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (wanted.contains(name) || !absl::StrContains(name, "-g")) continue;
    const std::string directory = JoinPath(limits_.cache_directory, name);
    const absl::Status removed = Spool::Discard(runtime_.files, directory);
    if (removed.ok()) (void)runtime_.files.Remove(directory);
  }
}

uint64_t Relays::HeldBytes(FileSystem& files, const std::string& directory) {
  const auto names_in = [&](const std::string& path) {
    return files.List(path).value_or(std::vector<std::string>());
  };
  uint64_t bytes = 0;
  for (const std::string& spool : names_in(directory)) {
    const std::string path = JoinPath(directory, spool);
    for (const std::string& segment : names_in(path)) {
      const auto file = files.Open(JoinPath(path, segment), OpenMode::kReadOnly);
      if (file.ok()) bytes += (*file)->Size().value_or(0);
    }
  }
  return bytes;
}

uint64_t Relays::Observe(control::v1::ProcessServerObserved* seen) const {
  uint64_t forwarded = 0, pending = 0;
  absl::MutexLock lock(&mutex_);
  for (const auto& [key, relay] : relays_) {
    *seen->add_streams() = relay->observed();
    pending += seen->streams(seen->streams_size() - 1).pending_bytes();
    forwarded += relay->forwarded_bytes();
  }
  seen->set_pending_bytes(pending);
  return forwarded;
}

}  // namespace homeward
