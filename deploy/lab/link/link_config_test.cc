#include "deploy/lab/link/link_config.h"

#include "common/wire/time_proto.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace homeward {
namespace {

using lab::v1::LinkConfig;
using lab::v1::LinkDirection;
using testing::HasSubstr;

TEST(LinkConfigTest, AnOrderChangesWhatItNamesAndKeepsTheRest) {
  LinkDirection direction;
  ASSERT_TRUE(ChangeDirection("bandwidth=20mbit latency=40ms jitter=1.5ms loss=0.1% queue=64KiB "
                              "burst=1500B reorder=yes",
                              &direction)
                  .ok());
  EXPECT_EQ(direction.bandwidth_bits_per_second(), 20'000'000u);
  EXPECT_EQ(FromProto(direction.latency()), absl::Milliseconds(40));
  EXPECT_EQ(FromProto(direction.jitter()), absl::Microseconds(1500));
  EXPECT_DOUBLE_EQ(direction.loss_percent(), 0.1);
  EXPECT_EQ(direction.queue_bytes_max(), 65'536u);
  EXPECT_EQ(direction.burst_bytes(), 1500u);
  EXPECT_TRUE(direction.reorder());
  ASSERT_TRUE(ChangeDirection("  bandwidth=1.5gbit\tqueue=20ms ", &direction).ok());
  EXPECT_EQ(direction.bandwidth_bits_per_second(), 1'500'000'000u);
  EXPECT_FALSE(direction.has_queue_bytes_max());
  EXPECT_EQ(FromProto(direction.queue_time_max()), absl::Milliseconds(20));
  EXPECT_EQ(FromProto(direction.latency()), absl::Milliseconds(40));
  ASSERT_TRUE(ChangeDirection("bandwidth=0 loss=0", &direction).ok());
  EXPECT_EQ(direction.bandwidth_bits_per_second(), 0u);
}

TEST(LinkConfigTest, AWrongOrderSaysWhatIsWrongAndChangesNothing) {
  const struct {
    const char* order;
    const char* says;
  } kWrong[] = {
      {"", "nothing to change"},
      {"latency", "latency: \"\" is not a time"},
      {"latency=1ms speed=3", "speed: nobody knows it"},
      {"latency=1ms bandwidth=20", "write it as 20mbit"},
      {"latency=1ms bandwidth=-1mbit", "write it as 20mbit"},
      {"latency=1ms bandwidth=nanmbit", "write it as 20mbit"},
      {"latency=1ms bandwidth=1bit", "must be 0, for no limit"},
      {"latency=-1ms", "latency: must lie between"},
      {"latency=inf", "latency: must lie between"},
      {"latency=1ms loss=101%", "must lie between 0 and 100"},
      {"latency=1ms loss=nan", "must lie between 0 and 100"},
      {"latency=1ms queue=9GiB", "queue_bytes_max: must be at most"},
      {"latency=1ms reorder=1", "neither yes nor no"},
  };
  for (const auto& [order, says] : kWrong) {
    SCOPED_TRACE(order);
    LinkDirection direction;
    *direction.mutable_latency() = ToProto(absl::Milliseconds(7));
    const absl::Status status = ChangeDirection(order, &direction);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
    EXPECT_EQ(FromProto(direction.latency()), absl::Milliseconds(7));
  }
}

TEST(LinkConfigTest, ReadsOrders) {
  absl::StatusOr<ParsedOrder> order = ParseOrder("set a-to-b latency=1ms loss=2%");
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(order->order, LinkOrder::kSet);
  EXPECT_TRUE(order->a_to_b && !order->b_to_a);
  EXPECT_EQ(order->changes, " latency=1ms loss=2%");
  order = ParseOrder("cut b-to-a");
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(order->order, LinkOrder::kCut);
  EXPECT_TRUE(!order->a_to_b && order->b_to_a);
  order = ParseOrder(" mend ");
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(order->order, LinkOrder::kMend);
  EXPECT_TRUE(order->a_to_b && order->b_to_a);
  EXPECT_EQ(ParseOrder("show")->order, LinkOrder::kShow);
  for (const char* wrong :
       {"", "show all", "cut everything", "set", "set up latency=1ms", "cut a-to-b b-to-a", "\x01"})
    EXPECT_EQ(ParseOrder(wrong).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
}

TEST(LinkConfigTest, EveryProblemOfAFileHasItsLine) {
  LinkConfig config;
  const absl::Status status =
      ParseConfig("link.conf",
                  "a { namespace_path: \"/run/netns/a\" device: \"site link\" }\n"
                  "b { namespace_path: \"netns/b\" device: \"wan0\" }\n"
                  "mtu_bytes: 100\n"
                  "a_to_b { loss_percent: 200 }\n",
                  CheckLinkConfig, &config);
  const std::string text(status.message());
  EXPECT_THAT(text, HasSubstr("link.conf:1: a.device: must be the name"));
  EXPECT_THAT(text, HasSubstr("link.conf:2: b.namespace_path: "));
  EXPECT_THAT(text, HasSubstr("link.conf:3: mtu_bytes: must lie between 1280 and"));
  EXPECT_THAT(text, HasSubstr("link.conf:4: a_to_b.loss_percent: must lie between 0 and 100"));
}

TEST(LinkConfigTest, ARightFileIsTakenAsItIs) {
  LinkConfig config;
  ASSERT_TRUE(
      ParseConfig("link.conf",
                  "a { namespace_path: \"/run/netns/a\" device: \"wan0\" }\n"
                  "b { namespace_path: \"/run/netns/b\" device: \"wan0\" }\n"
                  "a_to_b { bandwidth_bits_per_second: 8000000 latency { nanos: 5000000 } }\n",
                  CheckLinkConfig, &config)
          .ok());
  const ShaperSettings settings = SettingsOf(config.a_to_b());
  EXPECT_EQ(settings.latency, absl::Milliseconds(5));
  EXPECT_EQ(settings.QueueBytesMax(), 100'000u);  // 100 ms
  EXPECT_FALSE(settings.cut);
}

TEST(LinkConfigTest, AnErrorIsOneLineOfJson) {
  EXPECT_EQ(ErrorJson(absl::InvalidArgumentError("say \"so\"\nand a\\b")),
            "{\"ok\":false,\"error\":\"say \\\"so\\\" and a\\\\b\"}");
}

}  // namespace
}  // namespace homeward
