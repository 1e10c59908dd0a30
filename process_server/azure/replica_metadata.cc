#include "process_server/azure/replica_metadata.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status/status_macros.h"

namespace homeward {
namespace {

using azure::Metadata;

constexpr char kFormat[] = "hw_format";
constexpr char kMachine[] = "hw_machine";
constexpr char kDisk[] = "hw_disk";
constexpr char kReplica[] = "hw_replica";
constexpr char kGeneration[] = "hw_generation";
constexpr char kEpoch[] = "hw_epoch";
constexpr char kSequence[] = "hw_sequence";
constexpr char kSyncing[] = "hw_syncing";
constexpr char kRecovered[] = "hw_recovered";
constexpr char kOpened[] = "hw_opened";
constexpr char kOldest[] = "hw_oldest";
constexpr char kWritten[] = "hw_written";
constexpr char kPoint[] = "hw_point";
constexpr char kNumber[] = "hw_number";
constexpr char kKind[] = "hw_kind";
constexpr char kConsistency[] = "hw_consistency";
constexpr char kHow[] = "hw_how";
constexpr char kTime[] = "hw_time";

constexpr char kInBase64[] = "base64:";

// A value is printable ASCII; ids are, and stay readable in Azure's portal.
std::string EncodeId(const std::string& id) {
  const bool plain = !id.empty() && !absl::StartsWith(id, kInBase64) &&
                     std::all_of(id.begin(), id.end(), [](char c) {
                       return absl::ascii_isgraph(static_cast<unsigned char>(c));
                     });
  return plain ? id : absl::StrCat(kInBase64, absl::Base64Escape(id));
}

absl::Status Wrong(const char* name, absl::string_view value) {
  return absl::DataLossError(
      absl::StrCat("its metadata ", name, " is \"", absl::Utf8SafeCHexEscape(value), "\""));
}

absl::StatusOr<std::string> Text(const Metadata& metadata, const char* name) {
  const auto it = metadata.find(name);
  if (it == metadata.end()) return absl::DataLossError(absl::StrCat("it has no metadata ", name));
  return it->second;
}

absl::StatusOr<std::string> Id(const Metadata& metadata, const char* name) {
  HW_ASSIGN_OR_RETURN(const std::string text, Text(metadata, name));
  if (!absl::StartsWith(text, kInBase64)) return text;
  std::string id;
  if (!absl::Base64Unescape(text.substr(sizeof(kInBase64) - 1), &id)) return Wrong(name, text);
  return id;
}

template <typename T = uint64_t>
absl::StatusOr<T> Number(const Metadata& metadata, const char* name) {
  HW_ASSIGN_OR_RETURN(const std::string text, Text(metadata, name));
  T value = 0;
  if (!absl::SimpleAtoi(text, &value)) return Wrong(name, text);
  return value;
}

void Put(const StreamState& state, Metadata* out) {
  (*out)[kGeneration] = absl::StrCat(state.generation);
  (*out)[kEpoch] = absl::StrCat(state.position.epoch);
  (*out)[kSequence] = absl::StrCat(state.position.sequence);
  (*out)[kSyncing] = absl::StrCat(state.syncing ? 1 : 0);
}

absl::StatusOr<StreamState> State(const Metadata& metadata) {
  StreamState state;
  HW_ASSIGN_OR_RETURN(state.generation, Number(metadata, kGeneration));
  HW_ASSIGN_OR_RETURN(state.position.epoch, Number(metadata, kEpoch));
  HW_ASSIGN_OR_RETURN(state.position.sequence, Number(metadata, kSequence));
  HW_ASSIGN_OR_RETURN(const uint64_t syncing, Number(metadata, kSyncing));
  state.syncing = syncing != 0;
  return state;
}

}  // namespace

Metadata Encode(const DiskTag& disk) {
  return {{kFormat, absl::StrCat(kReplicaFormat)},
          {kMachine, EncodeId(disk.machine_id)},
          {kDisk, EncodeId(disk.disk_uuid)}};
}

Metadata Encode(const DiskTag& disk, const ReplicaTag& replica) {
  Metadata out = Encode(disk);
  out[kReplica] = EncodeId(replica.replica_id);
  Put(replica.state, &out);
  if (!replica.recovered_point.empty()) out[kRecovered] = EncodeId(replica.recovered_point);
  out[kOpened] = absl::StrCat(replica.opened);
  out[kOldest] = absl::StrCat(replica.oldest);
  out[kWritten] = absl::StrCat(replica.written_bytes);
  return out;
}

Metadata Encode(const DiskTag& disk, const PointTag& point) {
  Metadata out = Encode(disk);
  out[kReplica] = EncodeId(point.replica_id);
  Put(point.state, &out);
  const Marker& marker = point.point.marker;
  out[kPoint] = EncodeId(marker.id);
  out[kNumber] = absl::StrCat(point.point.number);
  out[kKind] = absl::StrCat(static_cast<uint32_t>(marker.kind));
  out[kConsistency] = absl::StrCat(static_cast<uint32_t>(marker.consistency));
  if (!marker.how.empty()) out[kHow] = absl::Base64Escape(marker.how);
  out[kTime] = absl::StrCat(absl::ToUnixMicros(marker.time));
  out[kWritten] = absl::StrCat(point.written_bytes);
  return out;
}

absl::StatusOr<DiskTag> DecodeDisk(const Metadata& metadata) {
  if (!metadata.contains(kFormat) || !metadata.contains(kMachine)) {
    return absl::FailedPreconditionError(
        "it was not made by Homeward, or its metadata was removed: rename or delete it");
  }
  HW_ASSIGN_OR_RETURN(const uint64_t format, Number(metadata, kFormat));
  if (format != kReplicaFormat) {
    return absl::FailedPreconditionError(absl::StrCat("it is of format ", format,
                                                      ", and this version knows ", kReplicaFormat,
                                                      ": upgrade the process server"));
  }
  DiskTag disk;
  HW_ASSIGN_OR_RETURN(disk.machine_id, Id(metadata, kMachine));
  HW_ASSIGN_OR_RETURN(disk.disk_uuid, Id(metadata, kDisk));
  return disk;
}

absl::StatusOr<ReplicaTag> DecodeReplica(const Metadata& metadata) {
  ReplicaTag replica;
  if (!metadata.contains(kReplica)) return replica;
  HW_ASSIGN_OR_RETURN(replica.replica_id, Id(metadata, kReplica));
  HW_ASSIGN_OR_RETURN(replica.state, State(metadata));
  if (metadata.contains(kRecovered)) {
    HW_ASSIGN_OR_RETURN(replica.recovered_point, Id(metadata, kRecovered));
  }
  HW_ASSIGN_OR_RETURN(replica.opened, Number(metadata, kOpened));
  HW_ASSIGN_OR_RETURN(replica.written_bytes, Number(metadata, kWritten));
  HW_ASSIGN_OR_RETURN(replica.oldest, Number(metadata, kOldest));
  return replica;
}

absl::StatusOr<PointTag> DecodePoint(const Metadata& metadata) {
  PointTag point;
  HW_ASSIGN_OR_RETURN(point.replica_id, Id(metadata, kReplica));
  HW_ASSIGN_OR_RETURN(point.state, State(metadata));
  Marker& marker = point.point.marker;
  HW_ASSIGN_OR_RETURN(marker.id, Id(metadata, kPoint));
  HW_ASSIGN_OR_RETURN(point.point.number, Number(metadata, kNumber));
  HW_ASSIGN_OR_RETURN(const uint32_t kind, Number<uint32_t>(metadata, kKind));
  if (kind != static_cast<uint32_t>(PointKind::kCrashConsistent) &&
      kind != static_cast<uint32_t>(PointKind::kApplicationConsistent))
    return Wrong(kKind, absl::StrCat(kind));
  marker.kind = static_cast<PointKind>(kind);
  HW_ASSIGN_OR_RETURN(const uint32_t consistency, Number<uint32_t>(metadata, kConsistency));
  if (consistency > static_cast<uint32_t>(Consistency::kNotOneInstant))
    return Wrong(kConsistency, absl::StrCat(consistency));
  marker.consistency = static_cast<Consistency>(consistency);
  if (const auto how = metadata.find(kHow); how != metadata.end()) {
    if (!absl::Base64Unescape(how->second, &marker.how)) return Wrong(kHow, how->second);
  }
  HW_ASSIGN_OR_RETURN(const int64_t micros, Number<int64_t>(metadata, kTime));
  marker.time = absl::FromUnixMicros(micros);
  HW_ASSIGN_OR_RETURN(point.written_bytes, Number(metadata, kWritten));
  return point;
}

}  // namespace homeward
