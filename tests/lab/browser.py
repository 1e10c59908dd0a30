"""A page as headless Chromium lays it out, measured from inside: what is seen, how large, what goes over, what went wrong."""
import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lab"))
from cluster import die_with_parent  # noqa: E402
from folders import scratch  # noqa: E402

HANG_SECONDS = 300  # a limit ends what hangs
PROBE = pathlib.Path(__file__).resolve().parent / "probe.js"
FLAGS = ("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--allow-file-access-from-files", "--enable-logging=stderr",
         "--virtual-time-budget=10000", "--dump-dom")
CONSOLE = re.compile(r":CONSOLE(?::\d+|\(\d+\))?\] ?(.*)")
FRAMES = """<!doctype html><meta charset="utf-8"><title>frames</title><body>{frames}<pre id="seen"></pre><script>
addEventListener("load", () => {{
  const seen = [...document.querySelectorAll("iframe")].map((frame) => frame.contentWindow.measured());
  document.getElementById("seen").textContent = JSON.stringify(seen);
}});
</script>"""


class NoBrowser(Exception):
    pass


def measure(page, widths, dark=False):
    """(what probe.js says of the page in a window of each width, the lines of the console). `page` is the text of one.

    The windows are frames: a browser's own has a least width. As root nothing of it reaches a network.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise NoBrowser("chromium is not installed, and the report cannot be looked at: run deploy/install-deps")
    with tempfile.TemporaryDirectory(prefix="browser-", dir=scratch()) as name:
        folder = pathlib.Path(name)
        probed = page.replace("<head>", f"<head><script>{PROBE.read_text(encoding='utf-8')}</script>", 1)
        (folder / "page.html").write_text(probed, encoding="utf-8")
        frames = "".join(f'<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>' for width in widths)
        (folder / "frames.html").write_text(FRAMES.format(frames=frames), encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
        if os.geteuid() == 0:
            command = ["unshare", "--net", *command, "--no-sandbox"]
        ended = subprocess.run([*command, (folder / "frames.html").as_uri()], capture_output=True, text=True, timeout=HANG_SECONDS,
                               preexec_fn=die_with_parent,
                               env={**os.environ, "HOME": name, "XDG_CONFIG_HOME": name, "XDG_CACHE_HOME": name})
        seen = re.search(r'<pre id="seen">(.*?)</pre>', ended.stdout, re.DOTALL)
        if not seen or not seen[1]:
            raise NoBrowser(f"{browser} ended with {ended.returncode} and measured nothing: {ended.stderr[-2000:]}")
        said = [line for line in CONSOLE.findall(ended.stderr) if "source: chrome:" not in line]  # the browser's own pages talk too
        return json.loads(html.unescape(seen[1])), said
