#!/usr/bin/env python3
"""Copies a source file with the planted bugs of bugs.py in it.

usage: plant.py SOURCE_DIR FILE OUTPUT    fails, naming the bug, when a text of it is not in FILE exactly once
       plant.py --files                   the files that have one
"""
import pathlib
import sys

sys.dont_write_bytecode = True
from bugs import BUGS  # noqa: E402


def fail(name, file, text):
    sys.exit(f"planted bug {name}: {text}, in {file}; see tests/simulation/planted/bugs.py")


def plant(source, file):
    """`source` with all bugs of `file`."""
    places = []
    for name, where, as_it_stands, with_the_bug in BUGS:
        if where != file:
            continue
        count = source.count(as_it_stands)
        if count != 1:
            fail(name, file, f"its text is there {count} times, not once")
        if "PLANTED" not in with_the_bug:
            fail(name, file, "its text with the bug never asks whether it is PLANTED")
        begin = source.index(as_it_stands)
        planted = with_the_bug.replace("PLANTED", f'HW_FAULT("mutation.{name}")')
        places.append((begin, begin + len(as_it_stands), planted, name))
    places.sort()
    for before, after in zip(places, places[1:]):
        if before[1] > after[0]:
            fail(after[3], file, f"its text is partly that of {before[3]}")
    for begin, end, planted, _name in reversed(places):
        source = source[:begin] + planted + source[end:]
    return '#include "common/fault/fault.h"\n' + source


def main():
    if sys.argv[1:] == ["--files"]:
        print(";".join(sorted({file for _name, file, _as_it_stands, _with_the_bug in BUGS})), end="")
        return
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    source_dir, file, output = sys.argv[1:]
    copy = plant((pathlib.Path(source_dir) / file).read_text(), file)
    to = pathlib.Path(output)
    to.parent.mkdir(parents=True, exist_ok=True)
    # A copy that stays as it is is not compiled again, whatever else has changed in the table.
    if not to.is_file() or to.read_text() != copy:
        to.write_text(copy)


main()
