// Everything that reads bytes of a peer or of a disk, fed by libFuzzer. One program; which reader
// it feeds is its first argument: homeward-fuzz --target=NAME [libFuzzer's own arguments].
//   --list              the targets, one a line
//   --make-corpus=DIR   writes what well-behaved peers send, as seeds, to DIR/TARGET/
// Checksums are constant in this build (HOMEWARD_FUZZ), so that what lies behind them is reached.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "common/base/check.h"
#include "common/config/config.h"
#include "common/data_channel/data_channel_call.h"
#include "common/nbd/posix/nbd_session.h"
#include "common/os/posix/unique_fd.h"
#include "common/replication/stream_receiver.h"
#include "common/vmdk/vmdk.h"
#include "common/vsphere/decode.h"
#include "common/vsphere/soap.h"
#include "common/wire/change_batch.h"
#include "config_server/backup/backup_file.h"
#include "homeward/config/v1/config.pb.h"
#include "master_target/keeper/keeper.h"
#include "mobility_agent/pipeline/agent_state.h"
#include "process_server/spool/spool.h"
#include "tests/fakes/memory_disk.h"
#include "tests/fakes/point_content.h"

namespace homeward {
namespace {

using replication::v1::Downstream;
using replication::v1::Upstream;

constexpr char kDirectory[] = "/d";
constexpr uint64_t kDiskBytes = 64 * kKiB;

SealedBatch SampleBatch(StreamPosition position) {
  BatchBuilder builder;
  const MutableBytes place = builder.AddData(0, {4096, 1024});
  std::fill(place.begin(), place.end(), 7);
  builder.AddZeroes(0, {0, 512});
  return builder.Seal({BatchKind::kWrites, position, 1});
}
SealedBatch SampleMarker(StreamPosition position) {
  return SealMarker({BatchKind::kMarker, position, 1},
                    {PointKind::kCrashConsistent, absl::FromUnixSeconds(1700000000), "p-1"});
}

// --- what is on the wire

// What is encrypted with it is a seed: the fuzzer cannot make a tag.
const DataKey kFuzzKey{1, std::string(kDataKeyBytes, 'k')};

void FuzzBatch(absl::string_view bytes) {
  PeekBatchHeader(bytes).status().IgnoreError();
  BatchHeadBytes(SealedBatch(std::string(bytes))).status().IgnoreError();
  ParsedBatch encrypted;
  if (ParseBatch(bytes, /*decode=*/false, &encrypted).ok())
    DecodeBatch({{kFuzzKey}, true}, &encrypted).IgnoreError();
  ParsedBatch batch;
  if (!ParseBatch(bytes, true, &batch).ok()) return;
  ParseMarker(batch).status().IgnoreError();
  ParseEpochBegin(batch).status().IgnoreError();
  if (batch.encoding != PayloadEncoding::kPlain) return;
  for (const PayloadEncoding encoding : {PayloadEncoding::kLz4, PayloadEncoding::kZstd}) {
    const SealedBatch compressed = CompressBatch(bytes, {encoding});
    if (compressed.empty()) continue;
    ParsedBatch again;
    HW_CHECK(ParseBatch(compressed.view(), true, &again).ok());
    HW_CHECK(again.payload == batch.payload);
  }
}
void SeedBatch(std::vector<std::string>* seeds) {
  const SealedBatch sample = SampleBatch({3, 7});
  seeds->emplace_back(sample.view());
  seeds->emplace_back(SampleMarker({3, 8}).view());
  seeds->emplace_back(SealEpochBegin({BatchKind::kEpochBegin, {4, 0}, 1}, {{3, 8}, false}).view());
  PayloadEncryptor encryptor(kFuzzKey);
  BatchBuilder builder;
  std::fill_n(builder.AddData(0, {4096, 1024}).begin(), 1024, 7);
  seeds->emplace_back(builder.Seal({BatchKind::kWrites, {3, 9}, 1}, &encryptor).view());
  seeds->emplace_back(BatchBuilder().Seal({BatchKind::kSyncEnd, {3, 10}, 1}, &encryptor).view());
  seeds->emplace_back(CompressBatch(sample.view(), {PayloadEncoding::kLz4}).view());
  seeds->emplace_back(CompressBatch(sample.view(), {PayloadEncoding::kZstd}).view());
}

// A keeper behind its stream's receiver: hello negotiation, credit, batches, digest queries.
void FuzzUpstream(absl::string_view bytes) {
  class TinyInbox : public Inbox {
   public:
    absl::StatusOr<StreamPosition> Admit(const replication::v1::Hello& hello) override {
      if (hello.machine_id().empty()) return absl::NotFoundError("no machine");
      return StreamPosition{1, 1};
    }
    absl::Status Store(std::vector<SealedBatch> batches) override {
      for (const SealedBatch& batch : batches) FuzzBatch(batch.view());
      return absl::OkStatus();
    }
    uint64_t AvailableBytes() override { return 4096; }
    StreamPosition spooled() const override { return {}; }
    StreamPosition durable() const override { return {}; }
    void OnDigestQuery(const replication::v1::DigestQuery&, StreamReceiver& from) override {
      from.SendDigestReply({});
    }
  } inbox;
  class Nowhere : public DownstreamLink {
    void Send(Downstream) override {}
    void Close() override {}
  } link;
  StreamReceiver receiver(&inbox, &link);
  FieldReader reader(bytes);
  while (true) {
    const uint16_t length = reader.U16();
    const absl::string_view part = reader.Raw(std::min<size_t>(length, reader.rest().size()));
    Upstream message;
    if (!reader.ok() || !message.ParseFromArray(part.data(), static_cast<int>(part.size()))) return;
    if (receiver.OnMessage(std::move(message))) receiver.Flush();
  }
}
void SeedUpstream(std::vector<std::string>* seeds) {
  Upstream hello, batch, query;
  hello.mutable_hello()->set_version_major(kReplicationVersionMajor);
  hello.mutable_hello()->set_machine_id("m1");
  hello.mutable_hello()->add_disk_bytes(kDiskBytes);
  batch.set_batch(std::string(SampleBatch({1, 2}).view()));
  query.mutable_digest_query()->set_block_bytes(4096);
  query.mutable_digest_query()->add_digests(std::string(16, 'd'));
  std::string all;
  for (const Upstream* message : {&hello, &batch, &query}) {
    const std::string one = message->SerializeAsString();
    FieldWriter(&all).U16(static_cast<uint16_t>(one.size()));
    all += one;
  }
  seeds->push_back(all);
}

void FuzzDownstream(absl::string_view bytes) {
  class Endless : public Outbox {
   public:
    absl::Status ResumeAfter(StreamPosition) override { return absl::OkStatus(); }
    absl::StatusOr<SealedBatch> NextBatch() override {
      return ++given_ < 100 ? SampleBatch({1, given_}) : SealedBatch();
    }
    void OnAcknowledged(StreamPosition, StreamPosition) override {}
    void OnDigestReply(const replication::v1::DigestReply&) override {}
    void OnRepairRequest(const replication::v1::RepairRequest&) override {}
    void OnRefused(const absl::Status&) override {}

   private:
    uint64_t given_ = 0;
  } outbox;
  class Nowhere : public UpstreamLink {
    void Send(Upstream) override {}
    void SendBatch(SealedBatch) override {}
    void Close() override {}
  } link;
  StreamSender sender(&outbox);
  sender.Connect(&link, {});
  FieldReader reader(bytes);
  while (true) {
    const uint16_t length = reader.U16();
    const absl::string_view part = reader.Raw(std::min<size_t>(length, reader.rest().size()));
    Downstream message;
    if (!reader.ok() || !message.ParseFromArray(part.data(), static_cast<int>(part.size()))) return;
    sender.OnMessage(message);
  }
}
void SeedDownstream(std::vector<std::string>* seeds) {
  Downstream reply, refusal;
  reply.mutable_hello_reply()->set_version_major(kReplicationVersionMajor);
  reply.mutable_hello_reply()->mutable_acknowledgement()->set_credit_bytes(5000);
  refusal.mutable_refusal()->set_code(15);
  std::string all;
  for (const Downstream* message : {&reply, &refusal}) {
    const std::string one = message->SerializeAsString();
    FieldWriter(&all).U16(static_cast<uint16_t>(one.size()));
    all += one;
  }
  seeds->push_back(all);
}

void FuzzDataChannel(absl::string_view bytes) {
  class Canned : public TlsSocket {
   public:
    explicit Canned(absl::string_view bytes) : rest_(bytes) {}
    absl::Status Read(MutableBytes out) override {
      if (out.size() > rest_.size()) return absl::UnavailableError("the end");
      std::memcpy(out.data(), rest_.data(), out.size());
      rest_.remove_prefix(out.size());
      return absl::OkStatus();
    }
    absl::Status Write(ConstBytes) override { return absl::OkStatus(); }
    void Shutdown() override {}
    void SetReadTimeout(absl::Duration) override {}
    const std::string& peer_host_id() const override { return id_; }
    const std::string& protocol() const override { return id_; }
    std::string SharedSecret(const std::string&, size_t bytes) override {
      return std::string(bytes, 's');
    }

   private:
    absl::string_view rest_;
    const std::string id_;
  } socket(bytes);
  DataChannel channel(&socket, {.beside = [&] { return &socket; }});
  DataChannel::Frame frame;
  while (channel.Read(&frame).ok()) {
    if (!frame.batch.empty()) FuzzBatch(frame.batch.view());
    HW_CHECK(channel.Write(frame.message).ok());
  }
}
void SeedDataChannel(std::vector<std::string>* seeds) {
  class Recorded : public TlsSocket {
   public:
    absl::Status Read(MutableBytes) override { return absl::UnavailableError("nothing"); }
    absl::Status Write(ConstBytes bytes) override {
      all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return absl::OkStatus();
    }
    void Shutdown() override {}
    void SetReadTimeout(absl::Duration) override {}
    const std::string& peer_host_id() const override { return all; }
    const std::string& protocol() const override { return all; }
    std::string SharedSecret(const std::string&, size_t bytes) override {
      return std::string(bytes, 's');
    }
    std::string all;
  } socket;
  DataChannel channel(&socket);
  HW_CHECK(channel.Write(std::string("\x0a\x00", 2)).ok() &&
           channel.Write(SampleBatch({1, 1})).ok() &&
           channel.WriteBeside(SampleBatch({1, 2}), &socket).ok());
  seeds->push_back(socket.all);
}

void FuzzNbd(absl::string_view bytes) {
  class Disk : public NbdExport {
   public:
    uint64_t size_bytes() const override { return kDiskBytes; }
    bool read_only() const override { return false; }
    absl::Status ReadAt(uint64_t offset, MutableBytes out) override {
      HW_CHECK(offset <= kDiskBytes && out.size() <= kDiskBytes - offset);
      std::fill(out.begin(), out.end(), 1);
      return absl::OkStatus();
    }
    absl::Status WriteAt(uint64_t offset, ConstBytes in) override {
      HW_CHECK(offset <= kDiskBytes && in.size() <= kDiskBytes - offset);
      return absl::OkStatus();
    }
    absl::Status ZeroAt(uint64_t offset, uint64_t length) override {
      HW_CHECK(offset <= kDiskBytes && length <= kDiskBytes - offset);
      return absl::OkStatus();
    }
    absl::Status Flush() override { return absl::OkStatus(); }
  } disk;
  int ends[2];
  HW_CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  const UniqueFd ours(ends[0]), theirs(ends[1]);
  ::fcntl(theirs.get(), F_SETFL, O_NONBLOCK);
  if (::send(theirs.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return;
  ::shutdown(theirs.get(), SHUT_WR);
  // A client that never reads: a full socket ends the session.
  ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  NbdSession(ours.get(), &disk).Run();
}
void SeedNbd(std::vector<std::string>* seeds) {
  std::string all;
  const auto be = [&](uint64_t value, int width) {
    for (int i = width - 1; i >= 0; --i) all.push_back(static_cast<char>(value >> (8 * i)));
  };
  be(3, 4);                                                           // client flags
  be(0x49484156454F5054, 8), be(8, 4), be(0, 4);                      // structured replies
  be(0x49484156454F5054, 8), be(7, 4), be(6, 4), be(0, 4), be(0, 2);  // go
  for (const uint64_t type : {0, 1, 3, 4, 6, 7, 2}) {
    be(0x25609513, 4), be(0, 2), be(type, 2), be(type, 8), be(512, 8), be(512, 4);
    if (type == 1) all.append(512, 'w');
  }
  seeds->push_back(all);
}

// --- what is on disks

std::string OnlyFile(MemoryDisk& disk, const std::string& directory) {
  return JoinPath(directory, disk.List(directory)->front());
}
void Overwrite(MemoryDisk& disk, const std::string& path, absl::string_view bytes) {
  const std::unique_ptr<File> file = *disk.Open(path, OpenMode::kCreate);
  HW_CHECK(file->Truncate(0).ok() && file->Write(0, AsBytes(bytes)).ok() && file->Sync().ok());
}

void FuzzRecordLog(absl::string_view bytes) {
  MemoryDisk disk(1);
  Overwrite(disk, "/log", bytes);
  std::vector<std::string> seen;
  const auto note = [&](const LogRecord& record) {
    seen.emplace_back(record.body);
    return absl::OkStatus();
  };
  {
    auto log = RecordLog::Open(disk, "/log", LogPurpose::kDelta, 1, note);
    if (!log.ok()) return;
    HW_CHECK((*log)->Append(9, "one more").ok() && (*log)->Sync().ok());
  }
  // What was read and what was appended is read again.
  const std::vector<std::string> before = std::exchange(seen, {});
  HW_CHECK(RecordLog::Open(disk, "/log", LogPurpose::kDelta, 1, note).ok());
  HW_CHECK(seen.size() == before.size() + 1 && seen.back() == "one more");
  HW_CHECK(std::equal(before.begin(), before.end(), seen.begin()));
}
void SeedRecordLog(std::vector<std::string>* seeds) {
  MemoryDisk disk(1);
  auto log = *RecordLog::Create(disk, "/log", LogPurpose::kDelta, 1);
  HW_CHECK(log->Append(1, "first").ok() && log->Sync().ok() && log->Append(2, "second").ok());
  seeds->push_back(disk.Content("/log"));
}

// Keepers whose journal was overwritten refuse it, or work.
std::unique_ptr<Keeper> OpenKeeper(MemoryDisk& disk) {
  auto file = *disk.Open("/flat", OpenMode::kCreate);
  HW_CHECK(file->Truncate(kDiskBytes).ok());
  std::vector<ReplicaDisk> disks;
  disks.push_back({std::move(file), kDiskBytes});
  auto keeper = Keeper::Open(disk, kDirectory, std::move(disks));
  return keeper.ok() ? *std::move(keeper) : nullptr;
}
void MakeHistory(Keeper& keeper) {
  BatchBuilder end;
  const std::vector<SealedBatch> batches = {
      SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {{}, true}), SampleBatch({1, 1}),
      end.Seal({BatchKind::kSyncEnd, {1, 2}, 1}), SampleMarker({1, 3}), SampleBatch({1, 4})};
  std::vector<absl::string_view> sealed;
  for (const SealedBatch& batch : batches) sealed.push_back(batch.view());
  HW_CHECK(keeper.Apply(sealed).ok());
}
void FuzzRecoveryJournal(absl::string_view bytes) {
  MemoryDisk disk(1);
  { MakeHistory(*OpenKeeper(disk)); }
  // The state, or the newest delta, which is named before it.
  const std::vector<std::string> names = *disk.List(kDirectory);
  const bool is_state = absl::StartsWith(bytes, "HWS");
  Overwrite(disk, JoinPath(kDirectory, is_state ? names.back() : names.end()[-2]), bytes);
  const std::unique_ptr<Keeper> keeper = OpenKeeper(disk);
  if (keeper == nullptr) return;
  for (const ReplicaPoint& point : keeper->points())
    PointContent(*keeper, point.marker.id).status().IgnoreError();
  if (!keeper->points().empty())
    keeper->RecoverTo(keeper->points().front().marker.id).IgnoreError();
}
void SeedRecoveryJournal(std::vector<std::string>* seeds) {
  MemoryDisk disk(1);
  { MakeHistory(*OpenKeeper(disk)); }
  const std::vector<std::string> names = *disk.List(kDirectory);
  for (const std::string& name : names) seeds->push_back(disk.Content(JoinPath(kDirectory, name)));
}

void FillSpool(MemoryDisk& disk) {
  auto spool = *Spool::Open(disk, {kDirectory, 4 * kKiB});
  HW_CHECK(spool->Append({1, 0}, SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {})).ok());
  for (uint64_t i = 1; i < 4; ++i) HW_CHECK(spool->Append({1, i}, SampleBatch({1, i})).ok());
  HW_CHECK(spool->Sync().ok());
}
void FuzzSpool(absl::string_view bytes) {
  MemoryDisk disk(1);
  FillSpool(disk);
  Overwrite(disk, OnlyFile(disk, kDirectory), bytes);
  auto spool = Spool::Open(disk, {kDirectory, 4 * kKiB});
  if (!spool.ok()) return;
  StreamPosition at;
  for (int i = 0; i < 100; ++i) {
    const absl::StatusOr<SealedBatch> batch = (*spool)->ReadBehind(at);
    if (!batch.ok() || batch->empty()) break;
    const absl::StatusOr<BatchHeader> header = PeekBatchHeader(batch->view());
    if (!header.ok() || header->position <= at) break;
    at = header->position;
  }
  (*spool)->DropThrough((*spool)->held()).IgnoreError();
}
void SeedSpool(std::vector<std::string>* seeds) {
  MemoryDisk disk(1);
  FillSpool(disk);
  seeds->push_back(disk.Content(OnlyFile(disk, kDirectory)));
}

// Without a passphrase: what is behind the header is authenticated.
void FuzzBackup(absl::string_view bytes) {
  MemoryDisk disk(1);
  const std::string path = JoinPath(kDirectory, "backup");
  HW_CHECK(disk.MakeDirectories(kDirectory).ok());
  HW_CHECK(WriteFileAtomically(disk, path, bytes).ok());
  ReadBackupHeader(disk, path).status().IgnoreError();
}
void SeedBackup(std::vector<std::string>* seeds) {
  MemoryDisk disk(1);
  const std::string path = JoinPath(kDirectory, "backup");
  HW_CHECK(disk.MakeDirectories(kDirectory).ok());
  storage::v1::BackupHeader header;
  header.set_config_server_id("0123456789abcdef");
  header.set_listen_address("10.0.0.1:7443");
  HW_CHECK((*BackupWriter::Create(disk, path, "sixteen letters!", header))->Finish().ok());
  seeds->push_back(disk.Content(path));
}

void FuzzAgentState(absl::string_view bytes) {
  const absl::StatusOr<AgentState> state = DecodeAgentState(bytes);
  if (state.ok()) HW_CHECK(DecodeAgentState(EncodeAgentState(*state)).ok());
}
void SeedAgentState(std::vector<std::string>* seeds) {
  AgentState state{
      .stopped_cleanly = true, .syncing = false, .epoch = 7, .durable = {7, 41}, .dirty = {}};
  state.dirty.resize(2);
  state.dirty[0].Add({4096, 512});
  seeds->push_back(EncodeAgentState(state));
}

void FuzzVmdk(absl::string_view bytes) { ParseVmdkDescriptor(bytes).status().IgnoreError(); }
void SeedVmdk(std::vector<std::string>* seeds) {
  MemoryDisk disk(1);
  bool created = false;
  HW_CHECK(OpenOrCreateVmdk(disk,
                            {.directory = "/ds/vm",
                             .name = "disk0",
                             .size_bytes = kMiB,
                             .uuid = "6000c29a00112233445566778899aabb",
                             .content_id = 1},
                            &created)
               .ok());
  seeds->push_back(disk.Content("/ds/vm/disk0.vmdk"));
}

void FuzzConfig(absl::string_view bytes) {
  config::v1::AgentConfig agent;
  config::v1::ProcessServerConfig relay;
  const auto check = [](const google::protobuf::Message&, ConfigProblems* problems) {
    problems->Add("join.config_server", "is looked at");
    problems->Add("disks[1].path", "is looked at");
  };
  for (google::protobuf::Message* config : {static_cast<google::protobuf::Message*>(&agent),
                                            static_cast<google::protobuf::Message*>(&relay)})
    ParseConfig("fuzz", std::string(bytes), check, config).IgnoreError();
}
void SeedConfig(std::vector<std::string>* seeds) {
  seeds->push_back(
      "join { config_server: \"a:1\" }\ndisks { path: \"/x\" capture: BPF }\n"
      "registration { delay { fixed { seconds: 3 } } }\n");
  seeds->push_back("bandwidth_schedule { from: \"08:00\" to: \"18:30\" days: [MONDAY] }\n");
}

// What a vCenter answers.
void FuzzVsphere(absl::string_view bytes) {
  const absl::StatusOr<vsphere::Reply> reply = vsphere::Reply::Parse(std::string(bytes), 200);
  if (!reply.ok()) return;
  vsphere::Inventory inventory;
  reply->reference();
  for (const pugi::xml_node object : reply->value().children("objects"))
    vsphere::DecodeObject(object, &inventory);
  for (const auto& [ref, vm] : inventory.vms) {
    inventory.DatacenterOf(vm.parent);
    for (const vsphere::Disk& disk : vm.disks) vm.FindDisk(disk.uuid);
  }
}
void SeedVsphere(std::vector<std::string>* seeds) {
  for (const char* const name : {"page", "next_page", "invalid_login", "service_content"}) {
    std::ifstream file(std::string("tests/golden/vsphere_") + name + ".xml", std::ios::binary);
    seeds->emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
}

struct Target {
  const char* name;
  void (*feed)(absl::string_view);
  void (*seed)(std::vector<std::string>*);
};
constexpr Target kTargets[] = {
    {"agent_state", FuzzAgentState, SeedAgentState},
    {"backup", FuzzBackup, SeedBackup},
    {"change_batch", FuzzBatch, SeedBatch},
    {"config", FuzzConfig, SeedConfig},
    {"downstream", FuzzDownstream, SeedDownstream},
    {"data_channel", FuzzDataChannel, SeedDataChannel},
    {"nbd", FuzzNbd, SeedNbd},
    {"record_log", FuzzRecordLog, SeedRecordLog},
    {"recovery_journal", FuzzRecoveryJournal, SeedRecoveryJournal},
    {"spool", FuzzSpool, SeedSpool},
    {"upstream", FuzzUpstream, SeedUpstream},
    {"vmdk", FuzzVmdk, SeedVmdk},
    {"vsphere", FuzzVsphere, SeedVsphere},
};
const Target* target = nullptr;

void MakeCorpus(const std::string& directory) {
  for (const Target& one : kTargets) {
    std::vector<std::string> seeds;
    one.seed(&seeds);
    const std::string place = directory + "/" + one.name;
    std::filesystem::create_directories(place);
    for (size_t i = 0; i < seeds.size(); ++i)
      std::ofstream(place + "/seed-" + std::to_string(i), std::ios::binary) << seeds[i];
  }
}

}  // namespace
}  // namespace homeward

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  google::protobuf::SetLogHandler(nullptr);
  const std::string first = *argc > 1 ? (*argv)[1] : "";
  for (const homeward::Target& one : homeward::kTargets) {
    if (first == "--list") std::printf("%s\n", one.name);
    if (first == std::string("--target=") + one.name) homeward::target = &one;
  }
  if (first.rfind("--make-corpus=", 0) == 0) homeward::MakeCorpus(first.substr(14));
  if (homeward::target == nullptr) std::exit(first.rfind("--target=", 0) == 0 ? 2 : 0);
  // libFuzzer does not know it.
  std::rotate(*argv + 1, *argv + 2, *argv + *argc);
  --*argc;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  homeward::target->feed({reinterpret_cast<const char*>(data), size});
  return 0;
}
