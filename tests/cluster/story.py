"""A test of real daemons that is told step by step: what it checks, and what is left of it when it ends."""
import argparse
import pathlib
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "lab"))
from cluster import Cluster, Refused  # noqa: E402


class Story:
    """A cluster of its own. A step that cannot be told to its end fails, and the next one begins."""

    def __init__(self, binaries, directory):
        self.cluster, self.directory, self.failed = Cluster(binaries, directory), directory, 0

    def check(self, name, holds, detail=""):
        print(f"{'ok  ' if holds else 'FAIL'} {name}{': ' + str(detail)[-1500:] if detail and not holds else ''}", flush=True)
        self.failed += not holds

    def tell(self, *steps):
        for step in steps:
            try:
                step()
            except (TimeoutError, Refused, KeyError, IndexError) as why:
                self.check(step.__name__, False, f"{type(why).__name__}: {why}")

    def close(self):
        self.cluster.stop()


def run(story_class, name):
    """Tells `story_class(binaries, directory).run()`, and ends the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), required=True)
    arguments = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"homeward-{name}-", dir="/var/tmp"))
    story = story_class(arguments.binaries, directory)
    try:
        story.run()
    except (TimeoutError, Refused, OSError, RuntimeError) as error:
        story.check(f"{type(error).__name__}", False, error)
    finally:
        if story.failed:
            print(story.cluster.told())
        story.close()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{story.failed} failed")
    sys.exit(1 if story.failed else 0)
