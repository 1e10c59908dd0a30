#include "mobility_agent/guest/guest_record.h"

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/status/status_macros.h"
#include "common/wire/checksum.h"

namespace homeward {
namespace {

constexpr absl::string_view kMagic = "HWG1";
constexpr uint64_t kRecordBytesMax = 4 * kMiB;
constexpr uint32_t kCountMax = 4096;
constexpr uint32_t kLastLocation = static_cast<uint32_t>(GuestLocation::kAzure);
constexpr uint32_t kLastPhase = static_cast<uint32_t>(GuestPhase::kReturning);

// One direction each, over the same order of fields: Visit() below.
class Writing {
 public:
  explicit Writing(std::string* out) : writer_(out) {}
  void Text(const std::string& text) {
    writer_.U32(static_cast<uint32_t>(text.size()));
    writer_.Raw(text);
  }
  void Flag(bool flag) { writer_.U32(flag ? 1 : 0); }
  template <typename E>
  void Number(E value, uint32_t) {
    writer_.U32(static_cast<uint32_t>(value));
  }
  template <typename T, typename F>
  void Each(const std::vector<T>& items, F visit) {
    writer_.U32(static_cast<uint32_t>(items.size()));
    for (const T& item : items) visit(item);
  }

 private:
  FieldWriter writer_;
};

class Reading {
 public:
  explicit Reading(absl::string_view bytes) : reader_(bytes) {}
  void Text(std::string& text) { text = std::string(reader_.Raw(reader_.U32())); }
  void Flag(bool& flag) {
    const uint32_t value = reader_.U32();
    valid_ = valid_ && value <= 1;
    flag = value == 1;
  }
  template <typename E>
  void Number(E& value, uint32_t last) {
    const uint32_t number = reader_.U32();
    valid_ = valid_ && number <= last;
    value = static_cast<E>(number <= last ? number : 0);
  }
  template <typename T, typename F>
  void Each(std::vector<T>& items, F visit) {
    const uint32_t count = reader_.U32();
    valid_ = valid_ && count <= kCountMax;
    for (uint32_t i = 0; i < count && ok(); ++i) visit(items.emplace_back());
  }
  bool ok() const { return valid_ && reader_.ok(); }
  bool at_end() const { return reader_.rest().empty(); }

 private:
  FieldReader reader_;
  bool valid_ = true;
};

template <typename Way, typename Record>
void Visit(Way& way, Record& record) {
  const auto kept = [&](auto& file) {
    way.Text(file.path);
    way.Text(file.kept);
    way.Flag(file.yields);
  };
  way.Number(record.home, kLastLocation);
  auto& network = record.network;
  way.Number(network.phase, kLastPhase);
  way.Each(network.kinds, [&](auto& kind) { way.Text(kind); });
  way.Each(network.kept, kept);
  way.Each(network.written, [&](auto& file) {
    way.Text(file.path);
    way.Text(file.content);
  });
  auto& tools = record.tools;
  way.Number(tools.phase, kLastPhase);
  way.Each(tools.packages, [&](auto& package) {
    way.Text(package.name);
    way.Text(package.version);
    way.Flag(package.chosen);
  });
  way.Each(tools.services, [&](auto& service) {
    way.Text(service.name);
    way.Text(service.state);
  });
  way.Each(tools.kept, kept);
}

}  // namespace

std::string EncodeGuestRecord(const GuestRecord& record) {
  std::string out(kMagic);
  Writing writing(&out);
  Visit(writing, record);
  FieldWriter(&out).U64(Checksum64(AsBytes(out)));
  return out;
}

absl::StatusOr<GuestRecord> DecodeGuestRecord(absl::string_view bytes) {
  const absl::Status damaged = absl::DataLossError("guest record: damaged");
  if (bytes.size() < kMagic.size() + sizeof(uint64_t)) return damaged;
  const absl::string_view body = bytes.substr(0, bytes.size() - sizeof(uint64_t));
  if (FieldReader(bytes.substr(body.size())).U64() != Checksum64(AsBytes(body))) return damaged;
  if (body.substr(0, kMagic.size()) != kMagic) return damaged;
  GuestRecord record;
  Reading reading(body.substr(kMagic.size()));
  Visit(reading, record);
  if (!reading.ok() || !reading.at_end()) return damaged;
  return record;
}

absl::StatusOr<absl::optional<GuestRecord>> ReadGuestRecord(FileSystem& files,
                                                            const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadWholeFile(files, path, kRecordBytesMax);
  if (absl::IsNotFound(bytes.status())) return absl::nullopt;
  HW_RETURN_IF_ERROR(bytes.status());
  absl::StatusOr<GuestRecord> record = DecodeGuestRecord(*bytes);
  if (!record.ok()) {
    return absl::DataLossError(absl::StrCat(
        path,
        " is damaged, so it is not known what was changed in this machine for another "
        "location. Undo that by hand (what was kept is below /etc/homeward/kept), then "
        "remove the file"));
  }
  return *std::move(record);
}

}  // namespace homeward
