#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/wire/change_batch.h"
#include "common/wire/checksum.h"
#include "tests/simulation/fabric_cluster.h"
#include "tests/simulation/meddling.h"

namespace homeward::simulation {

void Fabric::OnBeside(SealedBatch* batch) {
  const uint64_t payload_bytes = batch->size() - *BatchHeadBytes(*batch);
  if (payload_bytes == 0 || !faulty() || !wire_meddles_ || mischief_() % 100 != 0) return;
  ++outcome_.forged;
  *batch = WithAnotherBit(*batch, &mischief_);
  Say("somebody changes what goes beside TLS");
  changed_.insert(Digest128(AsBytes(batch->view())));
  if (mischief_() % 2 != 0) return;
  // So it has to wait where it is.
  const absl::Duration held = absl::Seconds(2 + mischief_() % 10);
  for (const auto& component : components_) {
    if (!component->is_target) continue;
    for (const auto& weak : component->calls) {
      if (const auto call = weak.lock()) call->Hold(/*up=*/true, held);
    }
  }
}

void Fabric::OnRefusal(bool to_relay, const replication::v1::Refusal& refusal) {
  // Nobody here changes a key's id.
  if (absl::StrContains(refusal.message(), "was not told"))
    Fail(absl::StrCat("a key ended early: ", refusal.message()));
  const bool compares = refusal.code() == static_cast<uint32_t>(absl::StatusCode::kDataLoss);
  if (wire_meddles_ && !to_relay && compares && absl::StrContains(refusal.message(), "sealed it"))
    Fail(absl::StrCat("what was changed beside TLS costs a comparison: ", refusal.message()));
}

void Fabric::OnBatch(SealedBatch* batch) {
  ParsedBatch parsed;
  if (!ParseBatch(batch->view(), /*decode=*/false, &parsed).ok() || !parsed.envelope.has_value())
    return;
  const std::string digest = Digest128(AsBytes(batch->view()));
  if (changed_.count(digest) > 0) return;  // it goes on from where it was changed
  const auto [seen, fresh] =
      nonces_.emplace(std::make_pair(parsed.envelope->key_id, parsed.envelope->nonce), digest);
  if (!fresh && seen->second != digest)
    Fail(absl::StrCat("a nonce serves two batches, one at ", parsed.header.position.ToString()));
  const bool has_content = parsed.header.kind == BatchKind::kWrites && !parsed.payload.empty();
  if (!has_content || !faulty() || wire_meddles_ || mischief_() % 500 != 0) return;
  ++outcome_.forged;
  const uint64_t kind = mischief_() % 3;
  const Extent first = parsed.extents[0].extent;
  if (kind == 0 || (kind == 1 && first.offset >= kSectorBytes)) {
    Say(absl::StrCat("somebody changes ", kind == 0 ? "what" : "where something", " is written at ",
                     parsed.header.position.ToString()));
    std::string bytes(batch->view());
    if (kind == 0) {
      bytes[bytes.size() - 1 - mischief_() % parsed.payload.size()] ^= 1;
    } else {
      std::string offset;
      FieldWriter(&offset).U64(first.offset - kSectorBytes);
      bytes.replace(kBatchHeaderBytes + kBatchEnvelopeBytes + 8, offset.size(), offset);
    }
    *batch = WithChecksum(std::move(bytes));
    changed_.insert(Digest128(AsBytes(batch->view())));
    return;
  }
  Say(absl::StrCat("somebody invents what is written at ", parsed.header.position.ToString()));
  BatchBuilder builder;
  for (const BatchExtent& extent : parsed.extents) {
    if (extent.zeroes) {
      builder.AddZeroes(extent.disk, extent.extent);
      continue;
    }
    const MutableBytes content = builder.AddData(extent.disk, extent.extent);
    std::fill(content.begin(), content.end(), 0xee);
  }
  *batch = builder.Seal(parsed.header);
}

void Fabric::ScheduleFault() {
  world_.After(world_.Between(absl::ZeroDuration(), fault_gap_max_), [this] {
    if (!faulty()) {
      for (auto& component : components_) {
        component->host.disk.set_capacity_bytes(kVolumeBytes);
        component->host.disk.FailSyncs(0);
        component->host.disk.FailReads(0);
      }
      return;
    }
    if (options_.without_faults.count(outcome_.faults++) == 0) Strike();
    ScheduleFault();
  });
}

void Fabric::Strike() {
  Component& component = *components_[world_.Pick(components_.size())];
  Guest& machine = *machines_[world_.Pick(machines_.size())];
  Copy& copy = *machine.copies.back();
  if (azure_ != nullptr && world_.Chance(0.4)) return StrikeAzure();
  // As in the other world, half of the runs know few kinds of faults.
  constexpr uint64_t kStandStill = 15;
  uint64_t kind = world_.Pick(few_kinds_ ? 12 : kStandStill + 1);
  if (few_kinds_ && kind == 11) kind = kStandStill;
  switch (kind) {
    case 0:
      if (!commit_deaths_) return;
      records_.commits_left = world_.Pick(12);
      records_.dies_before = world_.Chance(0.5);
      return;
    case 1:
      return brain_ == nullptr ? void() : StopServer();
    case 2:
    case 3:
      return component.host.disk.DieAfter(world_.Pick(80));
    case 4:
      return KillComponent(&component, !component.is_target && world_.Chance(0.5));
    case 5:
      return KillAgent(&copy);
    case 6:
      return copy.host.disk.DieAfter(world_.Pick(6));
    case 7:
      return CutSession(&component);
    case 8:
      machine.could_stop = false;
      return copy.host.up ? CutSession(&copy) : void();
    case 9: {
      ++outcome_.cuts;
      Say(absl::StrCat("calls to ", component.name, " are cut"));
      for (const auto& held : component.calls) {
        if (const auto call = held.lock())
          call->Cut(world_.Chance(0.5) ? absl::ZeroDuration()
                                       : world_.Between(absl::Milliseconds(1), absl::Seconds(4)));
      }
      return;
    }
    case 10: {
      world_.skew = absl::Hours(static_cast<int64_t>(world_.Pick(3)) - 1);
      if (!component.is_target) return;
      const auto space = component.host.disk.Space("/");
      component.host.disk.set_capacity_bytes(
          world_.Chance(0.5) ? space->total_bytes - space->free_bytes + world_.Pick(8192)
                             : kVolumeBytes);
      return;
    }
    case 11: {
      Say(absl::StrCat("syncs of ", component.name, " fail"));
      return component.host.disk.FailSyncs(1 + world_.Pick(2));
    }
    case 12: {
      Say(absl::StrCat("reads of ", component.name, " fail"));
      return component.host.disk.FailReads(1 + world_.Pick(3));
    }
    case 13:
      if (!component.is_target) DamageSomeLog(&component.host.disk, component.name);
      return;
    case 14: {
      Say(absl::StrCat("calls to ", component.name, " have one direction"));
      const bool up = world_.Chance(0.5);
      for (const auto& held : component.calls) {
        if (const auto call = held.lock())
          call->Hold(up, world_.Between(absl::Milliseconds(100), absl::Seconds(20)));
      }
      return;
    }
    default: {
      Host& host = world_.Chance(0.5) ? component.host : copy.host;
      host.frozen_until =
          world_.Monotonic() + world_.Between(absl::Milliseconds(100), absl::Seconds(20));
      if (&host == &copy.host) machine.could_stop = false;
      Say("a host stands still");
      return;
    }
  }
}

}  // namespace homeward::simulation
