#include "config_server/cli/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/wire/time_proto.h"
#include "config_server/cli/tables.h"

namespace homeward {
namespace {

using testing::HasSubstr;
using testing::Not;

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

}  // namespace
}  // namespace homeward
