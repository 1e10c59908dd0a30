#include "common/metrics/metrics.h"

#include "gmock/gmock.h"

namespace homeward {
namespace {

using ::testing::HasSubstr;

TEST(Metrics, ACounterIsShownAsOneWithAllThatWasCounted) {
  Metrics metrics;
  metrics.SetCounter("homeward_sent_bytes_total", "Bytes sent", {{"machine", "a"}}, 7);
  metrics.SetCounter("homeward_sent_bytes_total", "Bytes sent", {{"machine", "b"}}, 5);
  metrics.SetCounter("homeward_sent_bytes_total", "Bytes sent", {{"machine", "a"}}, 9);
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("# TYPE homeward_sent_bytes_total counter\n"));
  EXPECT_THAT(page, HasSubstr("homeward_sent_bytes_total{machine=\"a\"} 9\n"));
  EXPECT_THAT(page, HasSubstr("homeward_sent_bytes_total{machine=\"b\"} 5\n"));
}

TEST(Metrics, AGaugeRisesAndFalls) {
  Metrics metrics;
  metrics.SetGauge("homeward_pending_bytes", "Bytes that wait", {}, 7);
  metrics.SetGauge("homeward_pending_bytes", "Bytes that wait", {}, 3);
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("# TYPE homeward_pending_bytes gauge\n"));
  EXPECT_THAT(page, HasSubstr("homeward_pending_bytes 3\n"));
}

TEST(MetricsDeathTest, ACounterSaysInItsNameThatItIsOne) {
  Metrics metrics;
  EXPECT_DEATH(metrics.SetCounter("homeward_sent_bytes", "Bytes sent", {}, 1), "_total");
}

}  // namespace
}  // namespace homeward
