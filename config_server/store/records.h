// Records: the machines and servers of the store, read once and kept current with every commit, and
// which jobs run. A step looks at them instead of the store, so it costs what has changed, not what
// there is.
#ifndef HOMEWARD_CONFIG_SERVER_STORE_RECORDS_H_
#define HOMEWARD_CONFIG_SERVER_STORE_RECORDS_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/clock/clock.h"
#include "config_server/store/store.h"

namespace homeward {

// Must run on one strand.
class Records {
 public:
  // `clock` outlives it.
  Records(const Clock& clock, std::unique_ptr<Store> store);
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;

  Store& store() const { return *store_; }

  // In order of their ids. Valid until the next commit.
  absl::Span<const storage::v1::Machine> machines() const { return machines_; }
  absl::Span<const storage::v1::Server> servers() const { return servers_; }
  // Null: there is none.
  const storage::v1::Machine* FindMachine(absl::string_view machine_id) const;
  const storage::v1::Server* FindServer(absl::string_view host_id) const;
  // Their ids, oldest first.
  const std::set<std::string>& running_jobs() const { return running_jobs_; }

  // The ids of what was put or removed since the last call; at first, of everything there is.
  struct Changes {
    std::set<std::string> machines, servers;
    bool empty() const { return machines.empty() && servers.empty(); }
  };
  Changes TakeChanges();

  // A store that cannot be written to ends the process: what was decided must not be forgotten.
  void Commit(const Store::Transaction& transaction);
  // As Store::Together().
  void Together(const std::function<void()>& commits);
  // Adds the event to the transaction, and to the log. `forgotten_generation`: of a machine that
  // the transaction removes.
  void PutEvent(Store::Transaction* transaction, storage::v1::Event event,
                uint64_t forgotten_generation = 0);
  // An event of its own.
  void AddEvent(const std::string& name, const std::string& machine_id, const std::string& job_id,
                const std::string& text);

 private:
  void Follow(const Store::Transaction& transaction);

  const Clock& clock_;
  const std::unique_ptr<Store> store_;
  std::vector<storage::v1::Machine> machines_;
  std::vector<storage::v1::Server> servers_;
  std::set<std::string> running_jobs_;
  Changes changes_;
};

}  // namespace homeward

#endif  // HOMEWARD_CONFIG_SERVER_STORE_RECORDS_H_
