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
  // Replaces the value. Names end in their unit: "homeward_spool_pending_bytes".
  void SetGauge(const std::string& name, const std::string& help, const Labels& labels,
                double value);
  std::string Render() const;

 private:
  struct Registry;
  std::unique_ptr<Registry> registry_;
};

}  // namespace homeward

#endif  // HOMEWARD_COMMON_METRICS_METRICS_H_
