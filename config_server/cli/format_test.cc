#include "config_server/cli/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/wire/time_proto.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kShownTime[] = "2023-11-14 22:13:20.250 UTC";
google::protobuf::Timestamp ATime() { return ToProto(absl::FromUnixMillis(1700000000250)); }

TEST(FormatTest, ADurationIsAsPreciseAsItIsLong) {
  EXPECT_EQ(FormatTimeSpan(absl::Microseconds(250700)), "250ms");
  EXPECT_EQ(FormatTimeSpan(absl::Milliseconds(12555)), "12.5s");
  EXPECT_EQ(FormatTimeSpan(absl::Milliseconds(3725900)), "1h2m5s");
  EXPECT_EQ(FormatTimeSpan(absl::ZeroDuration()), "0");
}

TEST(FormatTest, EveryTimeIsShownAlikeAndNoHeadingNamesTheZone) {
  admin::v1::ListPointsResponse points;
  *points.add_points()->mutable_time() = ATime();
  admin::v1::ListJobsResponse jobs;
  *jobs.add_jobs()->mutable_created() = ATime();
  admin::v1::ListEventsResponse events;
  *events.add_events()->mutable_time() = ATime();
  admin::v1::ListVcentersResponse vcenters;
  *vcenters.add_vcenters()->mutable_since() = ATime();
  admin::v1::Machine machine;
  *machine.mutable_registered_at() = ATime();
  for (const std::string& text :
       {FormatPoints(points), FormatJobs(jobs), FormatEvents(events), FormatVcenters(vcenters),
        FormatVcenter(vcenters.vcenters(0)), FormatMachine(machine)}) {
    EXPECT_THAT(text, HasSubstr(kShownTime));
    EXPECT_THAT(text, Not(HasSubstr("UTC)")));
    EXPECT_THAT(text, Not(HasSubstr("UTC UTC")));
  }
}

TEST(FormatTest, EveryDurationIsShownAlike) {
  admin::v1::Machine machine;
  machine.set_rpo_seconds(3725.9);
  EXPECT_THAT(FormatMachine(machine), HasSubstr(" 1h2m5s\n"));
  admin::v1::ListMachinesResponse machines;
  *machines.add_machines() = machine;
  EXPECT_THAT(FormatMachines(machines), HasSubstr(" 1h2m5s "));
  admin::v1::Server server;
  *server.mutable_time_to_drain() = ToProto(absl::Seconds(3725.9));
  EXPECT_THAT(FormatServer(server), HasSubstr(" 1h2m5s\n"));
  admin::v1::Job job;
  admin::v1::Task& task = *job.add_tasks();
  *task.mutable_started() = ATime();
  *task.mutable_ended() = ToProto(FromProto(ATime()) + absl::Seconds(3725.9));
  EXPECT_THAT(FormatJob(job), HasSubstr("(1h2m5s)"));
}

TEST(FormatTest, AVcenterThatWasNeverReachedHasNoTime) {
  admin::v1::ListVcentersResponse vcenters;
  vcenters.add_vcenters()->set_name("vc1");
  EXPECT_THAT(FormatVcenters(vcenters), Not(HasSubstr("1970")));
}

TEST(FormatTest, RegistrationsAreAMachineALineThenPercentilesAndBars) {
  admin::v1::ListRegistrationsResponse response;
  EXPECT_EQ(FormatRegistrations(response), "no boot is known from power-on to registration\n");
  admin::v1::MachineRegistrations& waits = *response.add_machines();
  waits.set_name("db-1");
  *waits.mutable_waits_since() = ATime();
  admin::v1::MachineRegistrations& machine = *response.add_machines();
  machine.set_name("web-1");
  admin::v1::Boot& boot = *machine.add_boots();
  *boot.mutable_registered() = ATime();
  *boot.mutable_took() = ToProto(absl::Seconds(75));
  boot.set_known_by("job");
  admin::v1::RegistrationTimes& times = *response.mutable_all();
  times.set_count(101);
  *times.mutable_p50() = ToProto(absl::Milliseconds(4200));
  *times.mutable_max() = *boot.mutable_took();
  *machine.mutable_times() = times;
  admin::v1::RegistrationBucket* bucket = response.add_histogram();
  *bucket->mutable_limit() = ToProto(absl::Seconds(5));
  bucket->set_count(100);
  bucket = response.add_histogram();
  *bucket->mutable_limit() = ToProto(absl::Seconds(90));
  bucket->set_count(1);
  response.set_machines_total(7);
  const std::string text = FormatRegistrations(response);
  EXPECT_THAT(text, HasSubstr(absl::StrCat("not registered since ", kShownTime)));
  EXPECT_THAT(text, HasSubstr("1m15s"));
  EXPECT_THAT(text, HasSubstr("and 5 more machines"));
  EXPECT_THAT(text, HasSubstr("101 boots, from power-on to registered: p50 4.2s"));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("to 5s     100  ", std::string(50, '#'), "\n")));
  EXPECT_THAT(text, HasSubstr("to 1m30s       1  #\n"));
}

}  // namespace
}  // namespace homeward
