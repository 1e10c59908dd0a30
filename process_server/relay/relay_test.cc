#include "process_server/relay/relay.h"
#include "process_server/relay/bandwidth.h"
#include "process_server/relay/bandwidth_schedule.h"
#include "process_server/relay/compression_choice.h"

#include "gtest/gtest.h"
#include "tests/fakes/manual_clock.h"
#include "tests/fakes/memory_disk.h"

namespace homeward {
namespace {

Relay::Options OneDisk() {
  return {.machine_id = "m", .generation = 1, .disk_bytes = {kMiB}, .spool = {"/spool", kMiB}};
}

TEST(Bandwidth, TheMeanHoldsWhateverTheBatchSize) {
  ManualClock clock;
  Bandwidth bandwidth(clock, 1000);
  uint64_t sent = 0;
  for (int i = 0; i < 100000; ++i) {
    clock.now += absl::Milliseconds(1);
    if (!bandwidth.MaySend()) continue;
    bandwidth.Sent(700);
    sent += 700;
  }
  EXPECT_GE(sent, 99000u);
  EXPECT_LE(sent, 101700u) << "one second's bytes and one batch more at most";
  bandwidth.SetRate(0);
  EXPECT_TRUE(bandwidth.MaySend());
}

TEST(Relay, DisksOfAnotherSizeThanWereProtectedAreRefused) {
  MemoryDisk disk(1);
  auto relay = *Relay::Open(disk, {.machine_id = "m",
                                   .generation = 1,
                                   .disk_bytes = {kMiB, 2 * kMiB},
                                   .spool = {"/spool", kMiB},
                                   .window_bytes = 64 * kKiB,
                                   .memory_bytes_max = 32 * kKiB});
  replication::v1::Hello hello;
  hello.set_machine_id("m");
  hello.set_generation(1);
  hello.add_disk_bytes(kMiB);
  hello.add_disk_bytes(4 * kMiB);
  const absl::Status refused = relay->Admit(hello).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_NE(refused.message().find("with all recovery points"), absl::string_view::npos)
      << "what the advice costs is said";
  hello.set_disk_bytes(1, 2 * kMiB);
  EXPECT_TRUE(relay->Admit(hello).ok());
}

TEST(Relay, WithAFullSpoolNothingGathersInMemoryAndItGoesOnWhenThereIsRoom) {
  MemoryDisk disk(1);
  Relay::Options options = OneDisk();
  options.window_bytes = 64 * kKiB;
  options.memory_bytes_max = 32 * kKiB;
  auto relay = *Relay::Open(disk, options);
  const auto batch = [](uint64_t sequence) {
    if (sequence == 0) return SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {});
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {0, 8 * kKiB});
    std::memset(place.data(), 1, place.size());
    return builder.Seal({BatchKind::kWrites, {1, sequence}, 1});
  };
  ASSERT_TRUE(relay->Store({batch(0)}).ok());
  // There is no way on, so all of it wants to the disk.
  for (int tick = 0; tick < 50; ++tick) relay->Tick();
  const auto space = disk.Space("/");
  disk.set_capacity_bytes(space->total_bytes - space->free_bytes);
  uint64_t sequence = 1;
  for (; relay->AvailableBytes() > 0 && sequence < 100; ++sequence)
    EXPECT_TRUE(absl::IsResourceExhausted(relay->Store({batch(sequence)})));
  EXPECT_LT(relay->pending_bytes(), 48 * kKiB);
  relay->Tick();
  EXPECT_EQ(relay->AvailableBytes(), 0u);
  EXPECT_EQ(relay->spooled(), (StreamPosition{1, 0}));
  disk.set_capacity_bytes(UINT64_MAX);
  relay->Tick();
  relay->Tick();
  EXPECT_GT(relay->AvailableBytes(), 0u);
  EXPECT_EQ(relay->spooled(), (StreamPosition{1, sequence - 1})) << "nothing was lost";
}

class DeafLink : public UpstreamLink {
 public:
  void Send(replication::v1::Upstream) override {}
  void SendBatch(SealedBatch) override {}
  void Close() override {}
};

// Its master target is there, and gives more credit than is used.
void LetStream(Relay* relay, UpstreamLink* link) {
  relay->sender().Connect(link, relay->MakeHello());
  replication::v1::Downstream reply;
  reply.mutable_hello_reply()->set_version_major(kReplicationVersionMajor);
  reply.mutable_hello_reply()->mutable_acknowledgement()->set_credit_bytes(64 * kMiB);
  relay->sender().OnMessage(reply);
}

TEST(Relay, WhatIsForwardedInTimeIsWaitedForAndWhatIsNotGoesToTheSpool) {
  MemoryDisk disk(1);
  Relay::Options options = OneDisk();
  options.memory_bytes_max = 2 * kMiB;
  options.spool_after_ticks = 3;
  auto relay = *Relay::Open(disk, options);
  DeafLink link;
  LetStream(relay.get(), &link);
  const SealedBatch begin = SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {});
  BatchBuilder builder;
  const MutableBytes place = builder.AddData(0, {0, kMiB});
  std::memset(place.data(), 1, place.size());
  const SealedBatch writes = builder.Seal({BatchKind::kWrites, {1, 1}, 1});
  ASSERT_TRUE(relay->Store({begin, writes}).ok());
  EXPECT_LT(relay->AvailableBytes(), kMiB) << "no more than memory takes";
  for (int tick = 0; tick < 2; ++tick) relay->Tick();
  EXPECT_TRUE(relay->spooled().none()) << "the master target may still be in time";
  relay->Tick();
  EXPECT_EQ(relay->spooled(), (StreamPosition{1, 1}));
  EXPECT_EQ(relay->AvailableBytes(), 8 * kMiB) << "it is not: the disk is the place to wait";
  relay->sender().Disconnect();
}

TEST(Relay, TheFirstConnectionIsWaitedForWithoutTheSpoolButNotForLong) {
  MemoryDisk disk(1);
  Relay::Options options = OneDisk();
  options.memory_bytes_max = 2 * kMiB;
  options.spool_after_ticks = 3;
  auto relay = *Relay::Open(disk, options);
  const auto store = [&](uint64_t sequence) {
    const BatchHeader header{BatchKind::kWrites, {1, sequence}, 1};
    return relay->Store({sequence == 0 ? SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {})
                                       : BatchBuilder().Seal(header)});
  };
  ASSERT_TRUE(store(0).ok());
  EXPECT_TRUE(relay->spooled().none());
  EXPECT_LE(relay->AvailableBytes(), 2 * kMiB) << "no more than memory takes";
  relay->Tick();
  DeafLink link;
  LetStream(relay.get(), &link);
  ASSERT_TRUE(store(1).ok());
  EXPECT_TRUE(relay->spooled().none());
  relay->sender().Disconnect();
  ASSERT_TRUE(store(2).ok());
  EXPECT_EQ(relay->spooled(), (StreamPosition{1, 2})) << "one that was there is not waited for";

  Relay::Options elsewhere = OneDisk();
  elsewhere.spool = {"/alone", kMiB};
  elsewhere.spool_after_ticks = 3;
  auto alone = *Relay::Open(disk, elsewhere);
  ASSERT_TRUE(alone->Store({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {})}).ok());
  alone->Tick();
  EXPECT_TRUE(alone->spooled().none());
  for (int tick = 0; tick < 50; ++tick) alone->Tick();
  EXPECT_EQ(alone->spooled(), (StreamPosition{1, 0}));
}

TEST(Relay, ASynchronisationIsSpooledOnlyWhileNothingIsTaken) {
  MemoryDisk disk(1);
  Relay::Options options = OneDisk();
  options.spool_after_ticks = 3;
  auto relay = *Relay::Open(disk, options);
  DeafLink link;
  LetStream(relay.get(), &link);
  const auto batch = [](BatchKind kind, uint64_t sequence) {
    BatchBuilder builder;
    builder.AddData(0, {0, kSectorBytes});
    return builder.Seal({kind, {1, sequence}, 1});
  };
  ASSERT_TRUE(relay->Store({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {})}).ok());
  for (uint64_t sequence = 1; sequence <= 4; ++sequence)
    ASSERT_TRUE(relay->Store({batch(BatchKind::kSyncChunk, sequence)}).ok());
  for (uint64_t sequence = 0; sequence < 3; ++sequence) {
    for (int tick = 0; tick < 2; ++tick) relay->Tick();
    relay->OnAcknowledged({1, sequence}, {1, sequence});
  }
  EXPECT_TRUE(relay->spooled().none()) << "the master target is slow, but it goes on";
  for (int tick = 0; tick < 3; ++tick) relay->Tick();
  EXPECT_EQ(relay->spooled(), (StreamPosition{1, 4})) << "now it does not";

  // What was written meanwhile waits no longer than it does without a synchronisation.
  relay->OnAcknowledged({1, 4}, {1, 4});
  ASSERT_TRUE(relay->Store({batch(BatchKind::kWrites, 5), batch(BatchKind::kWrites, 6)}).ok());
  for (int tick = 0; tick < 2; ++tick) relay->Tick();
  relay->OnAcknowledged({1, 5}, {1, 5});
  relay->Tick();
  EXPECT_EQ(relay->spooled(), (StreamPosition{1, 6}));
  relay->sender().Disconnect();
}

TEST(Relay, AFullSpoolStopsNobodyOnceNothingWaits) {
  MemoryDisk disk(1);
  Relay::Options options = OneDisk();
  options.memory_bytes_max = 0;
  options.spool_after_ticks = 1;
  auto relay = *Relay::Open(disk, options);
  DeafLink link;
  LetStream(relay.get(), &link);
  ASSERT_TRUE(relay->Store({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {})}).ok());
  const auto space = disk.Space("/");
  disk.set_capacity_bytes(space->total_bytes - space->free_bytes);
  relay->Tick();
  EXPECT_EQ(relay->AvailableBytes(), 0u) << "nothing gathers in memory instead";
  relay->OnAcknowledged({}, {1, 0});
  EXPECT_GT(relay->AvailableBytes(), 0u) << "the master target has it";
  relay->sender().Disconnect();
}

TEST(Relay, WhoKeepsToHisCreditFillsMemoryAndNotTheDisk) {
  MemoryDisk disk(1);
  Relay::Options options = OneDisk();
  options.spool = {"/spool", 64 * kMiB};
  options.memory_bytes_max = 4 * kMiB;
  auto relay = *Relay::Open(disk, options);
  DeafLink link;
  LetStream(relay.get(), &link);
  ASSERT_TRUE(relay->Store({SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {})}).ok());
  uint64_t sent_bytes = 0, credit_bytes = relay->AvailableBytes();
  for (uint64_t sequence = 1; sent_bytes < credit_bytes; ++sequence) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {0, 700 * kKiB});
    std::memset(place.data(), 1, place.size());
    const SealedBatch batch = builder.Seal({BatchKind::kWrites, {1, sequence}, 1});
    sent_bytes += batch.size();
    ASSERT_TRUE(relay->Store({batch}).ok());
    credit_bytes = std::max(credit_bytes, sent_bytes + relay->AvailableBytes());
  }
  EXPECT_GE(sent_bytes, 4 * kMiB);
  EXPECT_TRUE(relay->spooled().none()) << "a master target that is slower is waited for";
  relay->sender().Disconnect();
}

TEST(Relay, AStreamGoesOnBehindWhatWasDurableWithoutTheSpool) {
  MemoryDisk disk(1);
  auto relay = *Relay::Open(
      disk, {.machine_id = "m", .generation = 1, .disk_bytes = {kMiB}, .spool = {"/spool", kMiB}});
  DeafLink link;
  LetStream(relay.get(), &link);
  const auto batch = [](uint64_t sequence) {
    if (sequence == 0) return SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {});
    return BatchBuilder().Seal({BatchKind::kWrites, {1, sequence}, 1});
  };
  for (uint64_t sequence = 0; sequence < 5; ++sequence) {
    EXPECT_TRUE(relay->Store({batch(sequence)}).ok()) << "the call goes on, at " << sequence;
    relay->OnAcknowledged({1, sequence}, {1, sequence});
    EXPECT_EQ(relay->pending_bytes(), 0u);
  }
  // The agent went another way meanwhile, and what it sent here before is late.
  relay->OnAcknowledged({2, 3}, {2, 3});
  EXPECT_TRUE(relay->Store({batch(5)}).ok());
  EXPECT_EQ(relay->pending_bytes(), 0u);
  EXPECT_TRUE(relay->Store({BatchBuilder().Seal({BatchKind::kWrites, {2, 4}, 1})}).ok());
  EXPECT_FALSE(relay->ResumeAfter({1, 3}).ok()) << "what is missing there is gone here";
  relay->sender().Disconnect();
}

class Answers : public DownstreamLink {
 public:
  void Send(replication::v1::Downstream message) override { last = std::move(message); }
  void Close() override { closed = true; }
  replication::v1::Downstream last;
  bool closed = false;
};

TEST(Relay, OnlyTheAdmittedSessionStreamsAndWhoIsRefusedTakesNobodysPlace) {
  MemoryDisk disk(1);
  Relay::Options options = OneDisk();
  options.fence = 5;
  auto relay = *Relay::Open(disk, options);
  const auto hello = [](uint64_t fence) {
    replication::v1::Upstream message;
    message.mutable_hello()->set_version_major(kReplicationVersionMajor);
    message.mutable_hello()->set_machine_id("m");
    message.mutable_hello()->set_generation(1);
    message.mutable_hello()->set_fence(fence);
    return message;
  };
  for (const uint64_t other : {uint64_t{0}, uint64_t{4}}) {
    Answers link;
    StreamReceiver clone(relay.get(), &link);
    clone.OnMessage(hello(other));
    EXPECT_FALSE(clone.greeted());
    EXPECT_EQ(link.last.refusal().code(), static_cast<uint32_t>(absl::StatusCode::kAborted));
    EXPECT_TRUE(link.closed);
  }
  Answers link;
  StreamReceiver original(relay.get(), &link);
  original.OnMessage(hello(5));
  ASSERT_TRUE(original.greeted());
  relay->AttachReceiver(&original);
  relay->SetFence(5);
  EXPECT_FALSE(original.closed()) << "the same session goes on";
  relay->SetFence(6);
  EXPECT_TRUE(original.closed());
  EXPECT_EQ(link.last.refusal().code(), static_cast<uint32_t>(absl::StatusCode::kAborted));
  relay->DetachReceiver(&original);
  EXPECT_TRUE(absl::IsAborted(relay->Admit(hello(5).hello()).status()));
  EXPECT_TRUE(relay->Admit(hello(6).hello()).ok());
}

// What comes beside TLS: nobody vouches for it before the end of the stream has opened it.
class UncheckedTest : public ::testing::Test {
 protected:
  UncheckedTest() {
    Relay::Options options = OneDisk();
    options.spool_after_ticks = 3;
    relay_ = *Relay::Open(disk_, options);
    Call();
    GoOn();
    Store(SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {}, &encryptor_));
  }
  ~UncheckedTest() override {
    relay_->DetachReceiver(agent_.get());
    relay_->sender().Disconnect();
  }
  // The agent calls, for the first time or anew; the position that it goes on from.
  StreamPosition Call() {
    answers_ = {};
    if (agent_ != nullptr) relay_->DetachReceiver(agent_.get());
    agent_ = std::make_unique<StreamReceiver>(relay_.get(), &answers_);
    replication::v1::Upstream message;
    message.mutable_hello()->set_version_major(kReplicationVersionMajor);
    message.mutable_hello()->set_machine_id("m");
    message.mutable_hello()->set_generation(1);
    agent_->OnMessage(message);
    relay_->AttachReceiver(agent_.get());
    return FromProto(answers_.last.hello_reply().held());
  }
  // The master target is there, and gives credit.
  void GoOn() {
    relay_->sender().Disconnect();
    relay_->sender().Connect(&target_, relay_->MakeHello());
    replication::v1::Downstream reply;
    reply.mutable_hello_reply()->set_version_major(kReplicationVersionMajor);
    ToProto(relay_->durable(), reply.mutable_hello_reply()->mutable_held());
    reply.mutable_hello_reply()->mutable_acknowledgement()->set_credit_bytes(64 * kMiB);
    relay_->sender().OnMessage(reply);
  }
  SealedBatch Writes(uint64_t sequence) {
    BatchBuilder builder;
    const MutableBytes place = builder.AddData(0, {0, 4 * kKiB});
    std::memset(place.data(), static_cast<int>(sequence), place.size());
    return builder.Seal({BatchKind::kWrites, {1, sequence}, 1}, &encryptor_);
  }
  static SealedBatch Unchecked(SealedBatch batch) {
    batch.SetUnchecked();
    return batch;
  }
  void Store(SealedBatch batch) {
    agent_->OnBatch(std::move(batch));
    agent_->Flush();
  }
  void Refused(absl::StatusCode code) {
    replication::v1::Downstream refusal;
    refusal.mutable_refusal()->set_code(static_cast<uint32_t>(code));
    refusal.mutable_refusal()->set_message("it is not as its machine sealed it");
    relay_->sender().OnMessage(refusal);
  }
  absl::StatusCode told() const {
    return static_cast<absl::StatusCode>(answers_.last.refusal().code());
  }

  MemoryDisk disk_{1};
  PayloadEncryptor encryptor_{{1, std::string(kDataKeyBytes, 'k')}};
  DeafLink target_;
  Answers answers_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<StreamReceiver> agent_;
};

TEST_F(UncheckedTest, ItIsPassedOnAndTakesNoPlaceOfWhatIsDurable) {
  ASSERT_TRUE(relay_->takes_unchecked());
  Store(Unchecked(Writes(1)));
  Store(Writes(2));
  EXPECT_GT(relay_->forwarded_bytes(), 8 * kKiB);
  relay_->OnAcknowledged({}, {1, 2});
  EXPECT_EQ(relay_->pending_bytes(), 0u);
  for (int tick = 0; tick < 10; ++tick) relay_->Tick();
  EXPECT_FALSE(answers_.closed);
  EXPECT_TRUE(relay_->takes_unchecked());
}

TEST_F(UncheckedTest, WhereItWouldHaveToBeSpooledItIsSentAgain) {
  Store(Writes(1));
  Store(Unchecked(Writes(2)));
  Store(Writes(3));
  for (int tick = 0; tick < 3; ++tick) relay_->Tick();
  EXPECT_EQ(relay_->spooled(), (StreamPosition{1, 1})) << "what came before it is kept";
  EXPECT_EQ(told(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(answers_.closed);
  EXPECT_TRUE(absl::IsUnavailable(relay_->TakeAskedAgain()));
  EXPECT_TRUE(relay_->TakeAskedAgain().ok()) << "it is said once";
  EXPECT_EQ(Call(), (StreamPosition{1, 1}));
  EXPECT_FALSE(answers_.last.hello_reply().acknowledgement().takes_unchecked());
  Store(Writes(2));
  Store(Writes(3));
  for (int tick = 0; tick < 3; ++tick) relay_->Tick();
  EXPECT_EQ(relay_->spooled(), (StreamPosition{1, 3}));
  relay_->OnAcknowledged({}, {1, 3});
  for (int tick = 0; tick < 290; ++tick) relay_->Tick();
  EXPECT_FALSE(relay_->takes_unchecked()) << "not for a while";
  for (int tick = 0; tick < 10; ++tick) relay_->Tick();
  EXPECT_TRUE(relay_->takes_unchecked());
}

TEST_F(UncheckedTest, WhosePartOfTheMemoryBecomesSmallerSendsNothingAgain) {
  const uint64_t batches = 2 * kBatchBytesMax / (4 * kKiB);
  for (uint64_t sequence = 1; sequence <= batches; ++sequence) Store(Unchecked(Writes(sequence)));
  relay_->SetBytesMax(kMiB, kMiB);
  Store(Unchecked(Writes(batches + 1)));
  EXPECT_FALSE(answers_.closed) << "the master target is there, and takes it";
  EXPECT_EQ(relay_->AvailableBytes(), 0u);
  EXPECT_GT(relay_->pending_bytes(), 2 * kBatchBytesMax);
  relay_->OnAcknowledged({}, {1, batches + 1});
  EXPECT_GT(relay_->AvailableBytes(), 0u);
}

TEST_F(UncheckedTest, WithoutAMasterTargetItIsSentAgainAtOnce) {
  relay_->sender().Disconnect();
  EXPECT_FALSE(relay_->takes_unchecked());
  Store(Unchecked(Writes(1)));
  EXPECT_EQ(told(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(relay_->spooled(), (StreamPosition{1, 0}));
  EXPECT_EQ(Call(), (StreamPosition{1, 0}));
}

TEST_F(UncheckedTest, WhatWasChangedOnItsWayHereIsPassedOnToWhoFindsOut) {
  std::string bytes(Writes(1).view());
  bytes.back() ^= 1;
  Store(Unchecked(SealedBatch(bytes)));
  EXPECT_FALSE(answers_.closed);
  EXPECT_GT(relay_->forwarded_bytes(), 4 * kKiB);
  Refused(absl::StatusCode::kDataLoss);
  EXPECT_EQ(told(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Call(), (StreamPosition{1, 0}));
  Store(SealedBatch(bytes));
  EXPECT_EQ(told(), absl::StatusCode::kDataLoss) << "over TLS it came as it was sent";
}

TEST_F(UncheckedTest, TheFirstRefusalIsTakenToBeOfWhatWasChangedAndTheSecondIsNot) {
  Store(Unchecked(Writes(1)));
  Refused(absl::StatusCode::kDataLoss);
  EXPECT_EQ(told(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(relay_->start_over_count(), 0u);
  GoOn();
  EXPECT_EQ(Call(), (StreamPosition{1, 0}));
  Store(Writes(1));
  relay_->OnAcknowledged({}, {1, 1});
  Store(Writes(2));
  Refused(absl::StatusCode::kDataLoss);
  EXPECT_FALSE(answers_.closed) << "it may have been changed on its way from here";
  GoOn();
  Refused(absl::StatusCode::kDataLoss);
  EXPECT_EQ(told(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(relay_->start_over_count(), 1u);
}

TEST(BandwidthSchedule, TheFirstWindowThatHoldsIsUsedAlsoOverMidnight) {
  config::v1::ProcessServerConfig config;
  config.set_bandwidth_bytes_per_second(1);
  config::v1::BandwidthWindow* office = config.add_bandwidth_schedule();
  office->set_from("08:00");
  office->set_to("18:30");
  office->add_days(config::v1::MONDAY);
  office->add_days(config::v1::FRIDAY);
  office->set_bytes_per_second(2);
  config::v1::BandwidthWindow* night = config.add_bandwidth_schedule();
  night->set_from("22:00");
  night->set_to("06:00");
  night->add_days(config::v1::FRIDAY);
  night->set_bytes_per_second(0);
  const absl::TimeZone zone = absl::FixedTimeZone(3600);
  const auto at = [&](int day, int hour, int minute) {  // 2 June 2025 was a Monday.
    return BandwidthAt(config, absl::FromCivil(absl::CivilMinute(2025, 6, day, hour, minute), zone),
                       zone);
  };
  EXPECT_EQ(at(2, 7, 59), 1u);
  EXPECT_EQ(at(2, 8, 0), 2u);
  EXPECT_EQ(at(2, 18, 29), 2u);
  EXPECT_EQ(at(2, 18, 30), 1u);
  EXPECT_EQ(at(3, 12, 0), 1u) << "a Tuesday";
  EXPECT_EQ(at(6, 21, 59), 1u);
  EXPECT_EQ(at(6, 22, 0), 0u);
  EXPECT_EQ(at(7, 5, 59), 0u) << "Friday's night";
  EXPECT_EQ(at(7, 6, 0), 1u);
  EXPECT_EQ(at(6, 5, 0), 1u) << "Thursday's night";
  EXPECT_FALSE(ParseTimeOfDay("24:01").has_value());
  EXPECT_FALSE(ParseTimeOfDay("8:00").has_value());
  EXPECT_FALSE(ParseTimeOfDay("08:60").has_value());
}

// An agent that compresses is told whether to; for an older one it is done here.
TEST(Relay, WhatTheLinkAsksForIsDoneOnceAndByWhoCan) {
  const auto batch = [](uint64_t sequence) {
    if (sequence == 0) return SealEpochBegin({BatchKind::kEpochBegin, {1, 0}, 1}, {});
    BatchBuilder builder;
    std::memset(builder.AddData(0, {0, 8 * kKiB}).data(), 1, 8 * kKiB);
    return builder.Seal({BatchKind::kWrites, {1, sequence}, 1});
  };
  for (const uint32_t minor : {kCompressesSinceMinor - 1, kCompressesSinceMinor}) {
    MemoryDisk disk(1);
    Relay::Options options = OneDisk();
    options.compression = PayloadEncoding::kZstd;
    auto relay = *Relay::Open(disk, options);
    replication::v1::Hello hello;
    hello.set_version_minor(minor);
    hello.set_machine_id("m");
    hello.set_generation(1);
    hello.add_disk_bytes(kMiB);
    ASSERT_TRUE(relay->Admit(hello).ok());
    EXPECT_EQ(relay->link().encoding, PayloadEncoding::kZstd);
    ASSERT_TRUE(relay->Store({batch(0), batch(1)}).ok());
    ASSERT_TRUE(relay->ResumeAfter({}).ok());
    ASSERT_EQ(*relay->NextBatch(), batch(0));
    EXPECT_EQ(*relay->NextBatch() == batch(1), minor == kCompressesSinceMinor) << minor;
  }
}

TEST(CompressionChoice, CompressesWhereTheLinkLimitsAndLooksAgain) {
  CompressionChoice choice;
  absl::Duration now = absl::Seconds(1);
  uint64_t durable_bytes = 0;
  const auto run = [&](uint64_t bytes_per_second, int seconds, bool waiting) {
    for (int i = 0; i < seconds * 10; ++i) {
      now += absl::Milliseconds(100);
      choice.Observe(now, durable_bytes += bytes_per_second / 10, waiting);
    }
  };
  run(200'000'000, 5, true);
  EXPECT_FALSE(choice.compress()) << "a fast link";
  run(1'000'000, 5, false);
  EXPECT_FALSE(choice.compress()) << "little to send is not a slow link";
  run(50'000'000, 1, true);
  EXPECT_TRUE(choice.compress());
  EXPECT_EQ(choice.effort(), CompressionEffort::kQuick);
  run(200'000'000, 70, true);
  EXPECT_FALSE(choice.compress()) << "the link has become fast";
  now += absl::Milliseconds(1);
  choice.Observe(now, durable_bytes, true);
  now += CompressionChoice::kWindow / 2;
  choice.Observe(now, durable_bytes + 1'000'000, true);
  EXPECT_TRUE(choice.compress()) << "a slow link is known early";
  EXPECT_EQ(choice.effort(), CompressionEffort::kThorough) << "which leaves time for it";
}

}  // namespace
}  // namespace homeward
