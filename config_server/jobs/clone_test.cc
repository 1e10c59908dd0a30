// One host id in two machines: who is the machine, who is refused, and that nobody is who should
// not be: a machine that booted, moved, or was registered again.
#include "tests/fakes/brain_fixture.h"
#include "tests/fakes/model_vcenter.h"

namespace homeward {
namespace {

struct CopyOfMachine {
  std::string boot = "boot-1", start = "start-1", hardware = "hardware-1";
  std::vector<std::string> disks = {};
  absl::Duration started = absl::ZeroDuration();  // of the manual clock
  std::string name = "web-1";
};

class CloneTest : public BrainFixture {
 protected:
  explicit CloneTest(Hypervisor* hypervisor = nullptr) : BrainFixture(hypervisor) {}

  // "": it has the machine's session; otherwise why not.
  std::string Join(const CopyOfMachine& copy) {
    control::v1::Registration registration = Registration(types::v1::AGENT, kMachine);
    registration.set_name(copy.name);
    registration.set_boot_id(copy.boot);
    registration.set_incarnation(copy.start);
    registration.set_hardware_uuid(copy.hardware);
    if (!copy.disks.empty()) registration.clear_disks();
    for (const std::string& uuid : copy.disks) {
      registration.add_disks()->set_name("/dev/disk-" + uuid);
      registration.mutable_disks()->rbegin()->set_size_bytes(1 << 20);
      registration.mutable_disks()->rbegin()->set_uuid(uuid);
    }
    *registration.mutable_running_for() = ToProto(clock_.now - copy.started);
    const auto session = brain_->Register(
        registration,
        {.send = [this](const control::v1::Down& down) { desired_[kMachine] = down.desired(); },
         .end = [this](const absl::Status&) { sessions_.erase(kMachine); },
         .address = "10.0.0." + copy.hardware});
    if (session.ok()) sessions_[kMachine] = *session;
    said_ = std::string(session.status().message());
    return session.ok() ? "" : IdOf(session.status());
  }
  // Until there is an answer, as agents do.
  std::string JoinAtLast(const CopyOfMachine& copy) {
    std::string why;
    for (int i = 0; i < 400; ++i) {
      why = Join(copy);
      if (why.find("UNAVAILABLE") == std::string::npos) return why;
      clock_.now += absl::Milliseconds(200);
      if (answers_) ObeyAgent();
      brain_->Step();
    }
    return why;
  }
  void Protect(const CopyOfMachine& copy) {
    agent_runs_ = false;  // It joins as this test says.
    ASSERT_EQ(Join(copy), "");
    Obey();
    Obey();
    Run("protect");
  }
  void EndSession() {
    brain_->fleet().Disconnect(kMachine, sessions_[kMachine]);
    sessions_.erase(kMachine);
  }
  uint64_t Fence() {
    Obey();
    return desired_[kMachine].agent().protection().fence();
  }
  std::vector<std::string> Health() {
    std::vector<std::string> ids;
    for (const auto& issue : JudgeMachine(brain_->MakeView(), Machine()))
      ids.push_back(issue.problem().id());
    return ids;
  }
  int CountEvents(const std::string& name) {
    int count = 0;
    for (const storage::v1::Event& event : brain_->store().All<storage::v1::Event>())
      count += event.name() == name;
    return count;
  }
  bool IsCloneOnly() { return Health() == std::vector<std::string>{"AGENT_CLONED"}; }

  const CopyOfMachine original_;
  bool answers_ = true;  // who has the session
  std::string said_;
};

TEST_F(CloneTest, ACloneIsRefusedAndBothAreNamed) {
  Protect(original_);
  const uint64_t fence = Fence();
  EXPECT_NE(fence, 0u);
  const CopyOfMachine clone{
      .boot = "boot-9", .start = "s", .hardware = "hardware-9", .name = "web-2"};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Join(clone), "AGENT_CLONED");
    for (const char* const named :
         {"web-1", "web-2", "hardware-1", "hardware-9", "boot-1", "boot-9"})
      EXPECT_NE(said_.find(named), std::string::npos) << said_;
    EXPECT_TRUE(sessions_.contains(kMachine)) << "the machine's own session goes on";
  }
  EXPECT_EQ(Machine().registration().name(), "web-1");
  EXPECT_EQ(CountEvents("machine.clone_refused"), 1) << "once, however often it comes";
  EXPECT_TRUE(IsCloneOnly());
  EXPECT_EQ(Fence(), fence);
  clock_.now += absl::Minutes(2);
  EXPECT_TRUE(Health().empty()) << "it does not ask any more";
}

TEST_F(CloneTest, ACloneIsRefusedAlsoWhenTheMachineIsOff) {
  Protect(original_);
  EndSession();
  EXPECT_EQ(Join({.boot = "boot-9", .start = "s", .hardware = "hardware-9"}), "AGENT_CLONED");
  StartBrain();
  EXPECT_EQ(Join({.boot = "boot-9", .start = "s", .hardware = "hardware-9"}), "AGENT_CLONED")
      << "the server that was restarted knows it too";
  EXPECT_EQ(Join({.boot = "boot-9", .start = "s", .hardware = ""}), "")
      << "what cannot be read tells nothing";
}

TEST_F(CloneTest, OtherDisksAreAnotherMachineAndSomeNewOnesAreNot) {
  CopyOfMachine copy{.disks = {"a", "b"}};
  Protect(copy);
  EndSession();
  EXPECT_EQ(Join({.boot = "boot-2", .start = "s", .disks = {"x", "y"}, .started = clock_.now}),
            "AGENT_CLONED");
  EXPECT_EQ(Join({.boot = "boot-2", .start = "s", .disks = {"b", "c"}, .started = clock_.now}), "");
}

TEST_F(CloneTest, TheOperatorSaysWhoIsTheMachine) {
  Protect(original_);
  const CopyOfMachine restored{.boot = "boot-9", .start = "s", .hardware = "hardware-9"};
  EXPECT_EQ(IdOf(brain_->AcceptCopy(kMachine, "").status()), "COPY_NOT_CHOSEN");
  EXPECT_EQ(Join(restored), "AGENT_CLONED");
  EXPECT_EQ(IdOf(brain_->AcceptCopy(kMachine, "hardware-8").status()), "COPY_NOT_CHOSEN");
  EXPECT_EQ(Join({.boot = "boot-8", .start = "s", .hardware = "hardware-8"}), "AGENT_CLONED");
  EXPECT_EQ(IdOf(brain_->AcceptCopy(kMachine, "").status()), "COPY_NOT_CHOSEN") << "which one?";
  const uint64_t fence = Fence();
  ASSERT_TRUE(brain_->AcceptCopy(kMachine, "hardware-9").ok());
  StartBrain();
  Obey();
  EXPECT_EQ(Join({.boot = "boot-10", .start = "s2", .hardware = "hardware-9"}), "")
      << "it may have booted since";
  EXPECT_NE(Fence(), fence);
  EXPECT_EQ(Join(original_), "AGENT_CLONED") << "and the other is refused now";
  EXPECT_EQ(Join({.boot = "boot-8", .start = "s", .hardware = "hardware-8"}), "AGENT_CLONED");
}

TEST_F(CloneTest, AMachineThatBootsAgainIsItself) {
  Protect(original_);
  const uint64_t fence = Fence();
  EndSession();
  clock_.now += absl::Seconds(30);
  EXPECT_EQ(Join({.boot = "boot-2", .start = "start-2", .started = clock_.now}), "");
  const uint64_t second = Fence();
  EXPECT_NE(second, fence);
  EndSession();
  EXPECT_EQ(Join({.boot = "boot-2", .start = "start-3", .started = clock_.now}), "")
      << "its agent was started again";
  EXPECT_NE(Fence(), second);
}

TEST_F(CloneTest, ASessionThatIsHalfOpenDoesNotKeepTheMachineOut) {
  Protect(original_);
  clock_.now += absl::Minutes(1);
  const CopyOfMachine booted{.boot = "boot-2", .start = "start-2", .started = clock_.now};
  EXPECT_NE(Join(booted).find("UNAVAILABLE"), std::string::npos);
  EXPECT_EQ(CountEvents("machine.clone_refused"), 0);
  answers_ = false;
  EXPECT_EQ(JoinAtLast(booted), "");
  EXPECT_LT(clock_.now, absl::Minutes(2));
}

TEST_F(CloneTest, AReconnectOfTheSameProcessIsTakenAtOnceAndItsStreamGoesOn) {
  Protect(original_);
  const uint64_t fence = Fence();
  EXPECT_EQ(Join(original_), "") << "its old session may be half open";
  EXPECT_EQ(Fence(), fence);
  StartBrain();
  Obey();
  EXPECT_EQ(Join(original_), "");
  EXPECT_EQ(Fence(), fence) << "also after a restart of the server";
  EXPECT_EQ(desired_[kServer].process_server().streams(0).fence(), fence);
}

TEST_F(CloneTest, OfTwoThatOnlyTheirBootsTellApartTheOneThatRunsIsTheMachine) {
  Protect(original_);
  const CopyOfMachine clone{.boot = "boot-2", .start = "start-2", .started = clock_.now};
  clock_.now += absl::Seconds(1);
  EXPECT_EQ(JoinAtLast(clone), "AGENT_CLONED") << "the older one answers";
  EXPECT_TRUE(IsCloneOnly());
  // Both ran at the same time: it is no machine that booted again.
  EndSession();
  EXPECT_EQ(Join(clone), "AGENT_CLONED") << "also now that the other is off";
}

TEST_F(CloneTest, ABootThatWasReplacedDoesNotComeBack) {
  Protect(original_);
  EndSession();
  clock_.now += absl::Seconds(30);
  const CopyOfMachine second{.boot = "boot-2", .start = "start-2", .started = clock_.now};
  EXPECT_EQ(Join(second), "");
  const uint64_t fence = Fence();
  EXPECT_EQ(Join(original_), "AGENT_CLONED") << "it was away, and runs";
  EXPECT_TRUE(IsCloneOnly());
  EndSession();
  EXPECT_EQ(Join(original_), "AGENT_CLONED");
  EXPECT_EQ(Join(second), "");
  EXPECT_EQ(Fence(), fence);
}

TEST_F(CloneTest, TwoAgentsOfOneBootDoNotAlternate) {
  Protect(original_);
  const CopyOfMachine second{.start = "start-2", .started = clock_.now};
  EXPECT_EQ(JoinAtLast(second), "AGENT_CLONED");
  EndSession();
  clock_.now += absl::Seconds(30);
  const CopyOfMachine third{.start = "start-3", .started = clock_.now};
  EXPECT_EQ(Join(third), "");
  EXPECT_EQ(Join(original_), "AGENT_CLONED");
}

TEST_F(CloneTest, AnAgentThatKnowsNoFencesHasNone) {
  CopyOfMachine old = original_;
  old.start.clear();
  Protect(old);
  EXPECT_EQ(Fence(), 0u);
  EXPECT_EQ(desired_[kServer].process_server().streams(0).fence(), 0u);
  EXPECT_EQ(Join(original_), "") << "it was upgraded";
  EXPECT_NE(Fence(), 0u);
  EXPECT_EQ(Join(old), "") << "and again";
  EXPECT_EQ(Fence(), 0u);
}

TEST_F(CloneTest, ACloneThatWasRefusedIsNotTakenForTheMachineThatCameHome) {
  Protect(original_);
  EXPECT_EQ(Join({.boot = "boot-9", .start = "s", .hardware = "hardware-9"}), "AGENT_CLONED");
  Run("failback", "latest");
  EXPECT_EQ(Join(original_), "FOREIGN_CONFIG_SERVER");
  EXPECT_EQ(Join({.boot = "boot-9", .start = "s", .hardware = "hardware-9"}), "AGENT_CLONED");
  EXPECT_EQ(Join({.boot = "home", .start = "h", .hardware = "hardware-at-home", .disks = {"z"}}),
            "");
  EXPECT_EQ(Join({.boot = "boot-9", .start = "s", .hardware = "hardware-9"}), "AGENT_CLONED");
}

TEST_F(CloneTest, ACopyThatWasLeftBehindAndRunsIsTold) {
  Protect(original_);
  Run("failback", "latest");
  const CopyOfMachine home{
      .boot = "home", .start = "h", .hardware = "hardware-at-home", .disks = {"z"}};
  ASSERT_EQ(Join(home), "");
  EXPECT_TRUE(Health().empty());
  const CopyOfMachine again{.boot = "boot-8", .start = "start-8"};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Join(again), "FOREIGN_CONFIG_SERVER") << "by its hardware";
    EXPECT_NE(said_.find("hardware-1, boot boot-8"), std::string::npos) << said_;
  }
  EXPECT_EQ(Health(), std::vector<std::string>{"FOREIGN_CONFIG_SERVER"});
  EXPECT_EQ(CountEvents("machine.left_behind_refused"), 1) << "once, however often it comes";
  EXPECT_EQ(IdOf(brain_->AcceptCopy(kMachine, "").status()), "COPY_NOT_CHOSEN")
      << "it is over, whoever accepts it";
  EXPECT_EQ(Join(again), "FOREIGN_CONFIG_SERVER");
  EXPECT_EQ(Machine().registration().boot_id(), "home");
  clock_.now += absl::Minutes(2);
  EXPECT_TRUE(Health().empty()) << "it does not ask any more";
  EXPECT_EQ(Join(again), "FOREIGN_CONFIG_SERVER");
  EXPECT_EQ(CountEvents("machine.left_behind_refused"), 2) << "it was started once more";
}

class CloneInVcenterTest : private WithVcenter, public CloneTest {
 protected:
  CloneInVcenterTest() : CloneTest(&model) {}
  VmWorld& world() { return model.world; }
};

TEST_F(CloneInVcenterTest, AVmThatWasRegisteredAgainIsItself) {
  constexpr char kNewUuid[] = "4207f072-edd8-4b16-8a4c-7b8c1f4e0a77";
  CopyOfMachine copy{.hardware = kVmUuid, .disks = {kFirstDisk, kSecondDisk}};
  ASSERT_EQ(Join(copy), "");
  Obey();
  copy.hardware = kNewUuid;
  copy.boot = "boot-2";
  copy.start = "start-2";
  EXPECT_EQ(Join(copy), "AGENT_CLONED") << "the old one is there, and runs";
  EndSession();
  EXPECT_EQ(Join(copy), "AGENT_CLONED") << "the old one is there";
  world().vm().bios_uuid = kNewUuid;
  world().link = VcenterState::Link::kStale;
  EXPECT_EQ(Join(copy), "AGENT_CLONED") << "nobody knows what is there now";
  world().link = VcenterState::Link::kConnected;
  EXPECT_EQ(Join(copy), "");
}

}  // namespace
}  // namespace homeward
