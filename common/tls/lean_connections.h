// LeanConnections: what TLS connections of this process do without.
#ifndef HOMEWARD_COMMON_TLS_LEAN_CONNECTIONS_H_
#define HOMEWARD_COMMON_TLS_LEAN_CONNECTIONS_H_

namespace homeward {

// From now on each TLS connection of this process, gRPC's too, gives its buffers back while it is
// quiet (34 KiB each), and a server offers no tickets for a session to be resumed: nobody resumes,
// and OpenSSL 3.0 spends a fifth of a handshake on them. Costs throughput, so it is not for who
// moves bulk data. Thread-safe; may be repeated.
void UseLeanConnections();

// From now on each TLS connection of this process, gRPC's too, shows its own certificate without
// the CA's, which everybody has whom it is to convince. Otherwise OpenSSL verifies this process's
// own certificate in every handshake, to find out what else to send, and the other side reads that.
// Thread-safe; may be repeated.
void ShowCertificateAlone();

}  // namespace homeward

#endif  // HOMEWARD_COMMON_TLS_LEAN_CONNECTIONS_H_
