#!/usr/bin/env python3
"""The worked examples of the format pages are the recorded bytes of tests/golden.

A block that begins with ```golden FILE [MEMBER] has lines "OFFSET  BYTES  meaning", both in hexadecimal; MEMBER is a file of an
archive (tests/golden/archive.h). Of a text file, the block is the file.
"""
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LINE = re.compile(r"([0-9a-f]{4,})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)")
BLOCK = re.compile(r"^```golden (\S+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)


def member(archive, name):
    while archive:
        head, archive = archive.split(b"\n", 1)
        found, size = head.decode().split(" ")
        if found == name:
            return archive[:int(size)]
        archive = archive[int(size):]
    raise ValueError(f"has no file {name}")


def differences(recorded, text):
    """What is wrong with a block of bytes; and whether it has any."""
    checked = 0
    for line in text.splitlines():
        found = LINE.match(line)
        if found:
            at, shown = int(found[1], 16), bytes.fromhex(found[2])
            checked += len(shown)
            if recorded[at:at + len(shown)] != shown:
                yield f"at {at:#x} are {recorded[at:at + len(shown)].hex(' ')}, not {shown.hex(' ')}"
        elif line.strip() != "…":
            yield f"not read: {line}"
    if checked == 0:
        yield "shows no bytes"


def main():
    pages, wrong = sorted((SOURCE / "docs/formats").glob("*.md")), []
    for page in pages:
        blocks = BLOCK.findall(page.read_text())
        if not blocks:
            wrong.append(f"{page.name}: has no worked example")
        for name, inside, text in blocks:
            recorded = (SOURCE / "tests/golden" / name).read_bytes()
            if name.endswith(".txt") and LINE.match(text) is None:
                found = [] if recorded.decode().rstrip("\n") == text.rstrip("\n") else ["is not the recorded text"]
            else:
                found = differences(member(recorded, inside) if inside else recorded, text)
            wrong += [f"{page.name}, example {name}: {what}" for what in found]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"examples: {len(pages)} format pages show what is recorded")


main()
