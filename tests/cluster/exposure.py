"""What can be read of a daemon by whoever has its memory and its files."""
import pathlib
import re


def memory_of(pid):
    """All that the process has written to its memory."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            begin, end, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if not rights.startswith("rw"):
                continue
            try:
                memory.seek(int(begin, 16))
                yield memory.read(int(end, 16) - int(begin, 16))
            except OSError:
                continue


def places_with(mark, daemon, *directories):
    """How many places have these bytes, of the daemon's memory, of its files and of those in `directories`."""
    found = sum(part.count(mark) for part in memory_of(daemon.process.pid))
    for directory in (daemon.directory, *directories):
        found += sum(file.read_bytes().count(mark) for file in directory.rglob("*") if file.is_file())
    return found
