"""What demonstrations share: their command line, a work directory and a network of their own, and the line `RESULT {json}` at the end."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import sys

import disks
from cluster import Refused
from demo import WORK_PREFIX, clean_up_after_the_dead, say
from failback import be_alone_on_the_network, be_alone_with_mounts


def command_line(description, demonstrations):
    parser = argparse.ArgumentParser(prog="deploy/demo", description=description)
    parser.add_argument("demonstration", choices=demonstrations)
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/var/tmp"), help="where there is room")
    parser.add_argument("--keep", action="store_true", help="leave the work directory, with the logs")
    return parser


def require_loop_devices():
    if not disks.can_use_loop_devices():
        sys.exit("The VMs' disks are loop devices: this demonstration needs root, or sudo without a password.")


def present(arguments, make, act):
    """Makes a demonstration in a work directory, has it act, and ends the program. A demonstration has a `story`, its `checks`, and its
    `result`."""
    be_alone_on_the_network()
    be_alone_with_mounts()
    clean_up_after_the_dead(arguments.work)
    work = arguments.work / f"{WORK_PREFIX}{os.getpid()}"
    work.mkdir(mode=0o700)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    demo = make(work)
    error = None
    try:
        act(demo)
    except (Refused, TimeoutError, RuntimeError, OSError) as why:
        error = str(why)
        say(f"FAILED: {error}")
        if demo.story.cluster:
            print(demo.story.cluster.told(), file=sys.stderr)
    finally:
        demo.story.close()
        if not arguments.keep:
            shutil.rmtree(work, ignore_errors=True)
    result = {"verified": error is None and all(demo.checks.values()), **demo.result, "checks": demo.checks}
    if error is not None:
        result["error"] = error
    print("RESULT " + json.dumps(result))
    sys.exit(0 if result["verified"] else 1)
