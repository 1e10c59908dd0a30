#include "common/replication/stream_order.h"

#include <deque>
#include <utility>

#include "gtest/gtest.h"

namespace homeward {
namespace {

using absl::StatusCode;

constexpr StreamPosition kHere{4, 7};

StreamOrder At(StreamPosition position, bool syncing = false, std::string recovered = "") {
  return StreamOrder({.position = position, .generation = 3, .syncing = syncing},
                     std::move(recovered));
}

absl::Status Take(const SealedBatch& sealed, StreamOrder* order) {
  ParsedBatch batch;
  if (absl::Status parsed = ParseBatch(sealed.view(), true, &batch); !parsed.ok()) return parsed;
  const absl::StatusOr<bool> takes = order->Takes(batch.header);
  if (!takes.ok()) return takes.status();
  return *takes ? order->Take(batch) : absl::AlreadyExistsError("held");
}

SealedBatch Epoch(uint64_t epoch, const EpochBegin& begin) {
  return SealEpochBegin({BatchKind::kEpochBegin, {epoch, 0}, 3}, begin);
}

TEST(StreamOrder, WhichBatchIsTheNextOne) {
  const struct {
    const char* what;
    BatchHeader header;
    StatusCode code;
    bool takes;
  } cases[] = {
      {"the next", {BatchKind::kWrites, {4, 8}, 3}, StatusCode::kOk, true},
      {"the newest again", {BatchKind::kWrites, {4, 7}, 3}, StatusCode::kOk, false},
      {"an old one again", {BatchKind::kMarker, {2, 90}, 3}, StatusCode::kOk, false},
      {"its own epoch begin again", {BatchKind::kEpochBegin, {4, 0}, 3}, StatusCode::kOk, false},
      {"a gap", {BatchKind::kWrites, {4, 9}, 3}, StatusCode::kOutOfRange, false},
      {"a newer epoch", {BatchKind::kEpochBegin, {9, 0}, 3}, StatusCode::kOk, true},
      {"a newer epoch without its begin",
       {BatchKind::kWrites, {9, 1}, 3},
       StatusCode::kOutOfRange,
       false},
      {"a newer generation", {BatchKind::kWrites, {4, 8}, 5}, StatusCode::kOk, true},
      {"a stale generation", {BatchKind::kWrites, {4, 8}, 2}, StatusCode::kAborted, false},
      {"a stale one again", {BatchKind::kWrites, {4, 7}, 2}, StatusCode::kAborted, false},
  };
  for (const auto& one : cases) {
    const absl::StatusOr<bool> takes = At(kHere).Takes(one.header);
    EXPECT_EQ(takes.status().code(), one.code) << one.what << ": " << takes.status();
    EXPECT_EQ(takes.value_or(false), one.takes) << one.what;
  }
}

TEST(StreamOrder, WhichEpochGoesOnFromHere) {
  const struct {
    const char* what;
    EpochBegin begin;
    StatusCode code;
  } cases[] = {
      {"from here", {.continues_from = kHere}, StatusCode::kOk},
      {"from less than is held", {.continues_from = {4, 2}}, StatusCode::kOk},
      {"from more than is held", {.continues_from = {4, 8}}, StatusCode::kDataLoss},
      {"its incarnation has ours", {.continues_from = {2, 1}, .begun = {{3, 4}}}, StatusCode::kOk},
      {"its incarnation does not have ours",
       {.continues_from = {2, 1}, .begun = {{3}}},
       StatusCode::kDataLoss},
      {"nothing, and compares", {}, StatusCode::kOk},
      {"nothing, and takes all for zero", {.fresh_replica = true}, StatusCode::kDataLoss},
  };
  for (const auto& one : cases) {
    StreamOrder order = At(kHere);
    EXPECT_EQ(Take(Epoch(9, one.begin), &order).code(), one.code) << one.what;
    const bool taken = one.code == StatusCode::kOk;
    EXPECT_EQ(order.position(), taken ? (StreamPosition{9, 0}) : kHere) << one.what;
    EXPECT_EQ(order.state().syncing, taken && one.begin.continues_from.none()) << one.what;
  }
  StreamOrder fresh = At({});
  EXPECT_TRUE(Take(Epoch(1, {.fresh_replica = true}), &fresh).ok());
}

TEST(StreamOrder, APointIsMadeBehindASynchronisationOnly) {
  const SealedBatch end = BatchBuilder().Seal({BatchKind::kSyncEnd, {4, 8}, 3});
  const auto marker = [](uint64_t sequence) {
    return SealMarker({BatchKind::kMarker, {4, sequence}, 3}, {.id = "p"});
  };
  StreamOrder order = At(kHere, /*syncing=*/true);
  EXPECT_EQ(Take(marker(8), &order).code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(order.position(), kHere) << "what is refused is not taken";
  EXPECT_TRUE(Take(end, &order).ok());
  EXPECT_TRUE(Take(marker(9), &order).ok());
}

TEST(StreamOrder, WhatWasRecoveredFollowsOnlyANewSynchronisation) {
  const SealedBatch next = BatchBuilder().Seal({BatchKind::kWrites, {4, 8}, 3});
  StreamOrder order = At(kHere);
  order.LeaveFor("p1");
  // DATA_LOSS: what it was refused with must make a sender compare, or it is refused for ever.
  EXPECT_EQ(Take(next, &order).code(), StatusCode::kDataLoss);
  EXPECT_EQ(Take(Epoch(9, {.continues_from = kHere}), &order).code(), StatusCode::kDataLoss);
  EXPECT_EQ(order.recovered_point(), "p1");
  EXPECT_TRUE(Take(Epoch(9, {}), &order).ok());
  EXPECT_TRUE(order.recovered_point().empty());
  EXPECT_TRUE(order.state().syncing);
  EXPECT_EQ(Take(next, &order).code(), StatusCode::kAlreadyExists);
  // As it is after a restart.
  StreamOrder again = At(kHere, false, "p1");
  EXPECT_EQ(Take(next, &again).code(), StatusCode::kDataLoss);
}

TEST(StreamOrder, TheGenerationOnlyGrows) {
  StreamOrder order = At(kHere);
  EXPECT_TRUE(Take(BatchBuilder().Seal({BatchKind::kWrites, {4, 8}, 5}), &order).ok());
  EXPECT_EQ(order.state().generation, 5u);
  EXPECT_FALSE(order.RaiseGeneration(4));
  EXPECT_TRUE(order.RaiseGeneration(6));
  EXPECT_TRUE(absl::IsAborted(Take(BatchBuilder().Seal({BatchKind::kWrites, {4, 9}, 5}), &order)));
}

TEST(StreamOrder, WhoMayStream) {
  const StreamTerms ends = {.machine_id = "m1", .disk_bytes = {10, 20}};
  StreamTerms passes = ends;
  passes.ends_here = false;
  const struct {
    const char* what;
    const char* machine;
    uint64_t generation;
    std::vector<uint64_t> disk_bytes;
    uint64_t fence;
    StatusCode where_it_ends, where_it_passes;
  } cases[] = {
      {"it", "m1", 3, {10, 20}, 7, StatusCode::kOk, StatusCode::kOk},
      {"another machine", "m2", 3, {10, 20}, 7, StatusCode::kNotFound, StatusCode::kNotFound},
      {"a stale generation", "m1", 2, {10, 20}, 7, StatusCode::kAborted, StatusCode::kAborted},
      {"a newer generation", "m1", 4, {10, 20}, 7, StatusCode::kOk, StatusCode::kUnavailable},
      {"another session", "m1", 3, {10, 20}, 6, StatusCode::kAborted, StatusCode::kAborted},
      {"one that knows no fence", "m1", 3, {10, 20}, 0, StatusCode::kAborted, StatusCode::kAborted},
      {"another size",
       "m1",
       3,
       {10, 21},
       7,
       StatusCode::kFailedPrecondition,
       StatusCode::kFailedPrecondition},
      {"a disk less",
       "m1",
       3,
       {10},
       7,
       StatusCode::kFailedPrecondition,
       StatusCode::kFailedPrecondition},
      {"no disks named", "m1", 3, {}, 7, StatusCode::kFailedPrecondition, StatusCode::kOk},
  };
  StreamOrder order = At(kHere);
  EXPECT_TRUE(absl::IsAborted(order.SetFence(7))) << "who streams now is another one";
  EXPECT_TRUE(order.SetFence(7).ok());
  for (const auto& one : cases) {
    replication::v1::Hello hello;
    hello.set_machine_id(one.machine);
    hello.set_generation(one.generation);
    for (const uint64_t bytes : one.disk_bytes) hello.add_disk_bytes(bytes);
    hello.set_fence(one.fence);
    EXPECT_EQ(order.Admit(hello, ends).code(), one.where_it_ends) << one.what;
    EXPECT_EQ(order.Admit(hello, passes).code(), one.where_it_passes) << one.what;
  }
}

TEST(StreamOrder, WhereAStreamCanBeHandedOn) {
  struct Entry {
    StreamPosition position;
  };
  const std::deque<Entry> kept = {{{4, 5}}, {{4, 6}}, {{6, 0}}, {{6, 1}}};
  const struct {
    const char* what;
    std::deque<Entry> kept;
    StreamPosition behind;
    bool can;
  } cases[] = {
      {"right before the oldest", kept, {4, 4}, true},
      {"what is missing is gone", kept, {4, 3}, false},
      {"in the middle", kept, {4, 6}, true},
      {"an epoch begin follows anything older", kept, {4, 9}, true},
      {"at the end", kept, {6, 1}, true},
      {"beyond it", kept, {6, 5}, true},
      {"all was dropped, and it is there", {}, {6, 1}, true},
      {"all was dropped, and it is not", {}, {6, 0}, false},
      {"all was dropped, after a restart without anything", {}, {}, false},
  };
  for (const auto& one : cases)
    EXPECT_EQ(CanResumeAfter(one.kept, {6, 1}, one.behind), one.can) << one.what;
  EXPECT_TRUE(CanResumeAfter(std::deque<Entry>(), {}, {})) << "a new one begins at nothing";
}

}  // namespace
}  // namespace homeward
