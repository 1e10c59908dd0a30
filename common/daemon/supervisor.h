// What started the daemon is told how far it is; when nothing listens, nothing happens.
#ifndef HOMEWARD_COMMON_DAEMON_SUPERVISOR_H_
#define HOMEWARD_COMMON_DAEMON_SUPERVISOR_H_

namespace homeward {

void TellReady();
void TellStopping();

}  // namespace homeward

#endif  // HOMEWARD_COMMON_DAEMON_SUPERVISOR_H_
