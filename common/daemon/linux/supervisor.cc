#include "common/daemon/supervisor.h"

#include <systemd/sd-daemon.h>

namespace homeward {

void TellReady() { sd_notify(0, "READY=1"); }
void TellStopping() { sd_notify(0, "STOPPING=1"); }

}  // namespace homeward
