// Synchronisation: compares the disks with the replica from their first byte to their last, and
// finds what is to be sent. A replica that reads as zeroes is compared with nothing.
#ifndef HOMEWARD_MOBILITY_AGENT_PIPELINE_SYNCHRONISATION_H_
#define HOMEWARD_MOBILITY_AGENT_PIPELINE_SYNCHRONISATION_H_

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "common/base/stream_position.h"
#include "common/clock/clock.h"
#include "common/wire/change_batch.h"
#include "homeward/replication/v1/replication.pb.h"
#include "mobility_agent/pipeline/dirty_map.h"

namespace homeward {

// Must run on one strand, that of the sources. Bounded: so many questions are open, and differences
// are at most what was asked for.
class Synchronisation {
 public:
  struct Options {
    uint64_t digest_block_bytes = 16 * kKiB;  // differences are found, and zeroes left out, by it
    uint32_t digest_blocks_max = 256;         // by question
    // So long without any reply, and one question is asked again. Longer where replies take longer.
    absl::Duration digest_timeout = absl::Seconds(3);
  };
  struct Progress {
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
  };
  // Sends a question to the other side, if there is a connection. Never calls back.
  using Ask = std::function<void(const replication::v1::DigestQuery&)>;
  struct Start {
    bool running = true;  // until Begin(): one has to be begun
    bool fresh = false;   // the replica reads as zeroes
    // Questions are numbered from here. No number is used twice, not by another incarnation either:
    // a reply may come late.
    uint64_t first_query = 0;
  };

  // `clock` and `sources` outlive it.
  Synchronisation(const Clock& clock, const Options& options,
                  const std::vector<WriteSource*>& sources, Start start, Ask ask);

  // From the beginning; `base` is where the stream says so.
  void Begin(StreamPosition base);
  // What said that it has ended may never have arrived.
  void Reopen() { running_ = true; }
  // Requires: Finished().
  void End() { running_ = false; }
  // The replica is not known to read as zeroes any more.
  void DoubtFresh() { fresh_ = false; }

  bool running() const { return running_; }
  bool fresh() const { return fresh_; }
  // It runs, and its beginning never became durable.
  bool NeverArrived(StreamPosition durable) const { return running_ && durable < base_; }
  // All was compared, and what differs was handed out.
  bool Finished() const;
  // What is read in any case; the end of all disks when it does not run.
  DiskPlace unread() const;

  // Fills the builder, up to `batch_bytes` of payload, with what differs; when nothing is known to
  // differ it compares on. Empty: it waits for replies, or it is finished. `epoch` is that of now.
  absl::Status Fill(uint64_t epoch, uint64_t batch_bytes, BatchBuilder* builder);
  // Unknown numbers are ignored: answered twice, or asked by a synchronisation that is over.
  void OnReply(const replication::v1::DigestReply& reply);
  // Asks again what is lost. The other side answers in the order in which it is asked, so that is
  // what a later question's reply has overtaken. After a silence one question finds out whether
  // somebody is there; if it is the only one that is answered, the others are lost. What only waits
  // its turn is not asked again: a replica that is read over a slow line would be asked faster than
  // it can answer.
  void AskAgain(uint64_t epoch);
  // There is a new connection: what is open may be lost, and AskAgain() asks for all of it.
  void OnConnected();

  Progress progress() const;
  // Found to differ and not handed out.
  uint64_t differing_bytes() const { return differing_.bytes(); }

 private:
  struct Query {
    replication::v1::DigestQuery message;
    uint64_t order = 0;  // of being asked
  };
  void Send(Query* query);
  bool AtEnd() const { return place_.disk == sources_.size(); }
  absl::Status Compare(uint64_t epoch, uint64_t batch_bytes, BatchBuilder* builder);
  absl::Status AskDigests(uint64_t epoch);
  absl::Status ReadFresh(uint64_t batch_bytes, BatchBuilder* builder);

  // Constant after construction.
  const Clock& clock_;
  const Options options_;
  const std::vector<WriteSource*>& sources_;
  const Ask ask_;
  // Touched only on the strand.
  bool running_;
  bool fresh_;
  StreamPosition base_;
  DiskPlace place_;  // what is before it was compared, or asked for
  std::map<uint64_t, Query> queries_;
  uint64_t next_query_id_;
  uint64_t next_order_ = 1;
  uint64_t answered_order_ = 0;  // the latest of which a reply came
  bool connected_anew_ = false;
  // Of the question that is to find out: how many replies came since.
  std::optional<int> replies_since_probe_;
  absl::Duration heard_;     // when the last reply came, or the first question without one went
  absl::Duration probed_;    // when it was asked last whether somebody is there
  absl::Duration patience_;  // how long no reply is nothing to worry about
  DirtyMap differing_;
};

}  // namespace homeward

#endif  // HOMEWARD_MOBILITY_AGENT_PIPELINE_SYNCHRONISATION_H_
