// Metrics: named figures of one process, in Prometheus' text format. prometheus-cpp's home.
#ifndef HOMEWARD_COMMON_METRICS_METRICS_H_
#define HOMEWARD_COMMON_METRICS_METRICS_H_

#include <map>
#include <memory>
#include <string>

namespace homeward {

// Thread-safe. A daemon sets its figures when it is asked for them.
class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;
  Metrics();
  ~Metrics();
  // What is so now, and may rise and fall. Replaces the value. Names end in their unit:
  // "homeward_spool_pending_bytes".
  void SetGauge(const std::string& name, const std::string& help, const Labels& labels,
                double value);
  // What has been counted up to now: it never falls, but when the count begins anew. Of two totals
  // for the same labels the larger is shown. Names end in "_total", after their unit.
  void SetCounter(const std::string& name, const std::string& help, const Labels& labels,
                  double total);
  // The page, in the text format 0.0.4.
  std::string Render() const;

 private:
  struct Registry;
  std::unique_ptr<Registry> registry_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_METRICS_METRICS_H_
