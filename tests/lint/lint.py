#!/usr/bin/env python3
"""Checks that a compiler does not make: ctest -L lint.

usage: lint.py SOURCE_DIR BUILD_DIR

  * layers    an #include of ours needs its target in DEPS; config_server/cli and web see proto and common only
  * homes     each third-party library is included only where docs/architecture.md puts it
  * banned    calls that read the time, sleep, or read the environment outside their homes
  * names     no Manager, Helper, Util, Impl
  * length    a source file fails at 1,000 lines
  * system    only linux/, posix/ and windows/ name an operating system
  * pages     a path that a page names in backticks, or links to, exists
  * problems  a problem or a health issue is made by common/problem only, and told from another by its typed id
"""
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(sys.argv[1]).resolve()
BUILD = pathlib.Path(sys.argv[2]).resolve()
problems = []


def report(path, line, text):
    problems.append(f"{path.relative_to(SOURCE)}:{line}: {text}")


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=SOURCE, capture_output=True, text=True,
                         check=True)
    return [SOURCE / name for name in out.stdout.splitlines() if (SOURCE / name).is_file()]


def graph():
    """target -> (files, deps); file -> target."""
    targets, owner = {}, {}
    for line in (BUILD / "homeward_graph.txt").read_text().splitlines():
        name, _layer, directory, sources, deps = line.split("|")
        files = [(SOURCE / directory / s).resolve() for s in sources.split(",") if s]
        targets[name] = (files, [d for d in deps.split(",") if d])
        for file in files:
            owner.setdefault(file, name)
    return targets, owner


def reachable(targets, name, seen=None):
    seen = seen if seen is not None else set()
    if name in seen:
        return seen
    seen.add(name)
    for dep in targets.get(name, ((), ()))[1]:
        reachable(targets, dep, seen)
    return seen


HOMES = {
    r"rocksdb/": ["config_server/store/", "tests/fakes/store_on_files.cc"],
    r"openssl/": ["common/tls/", "common/cipher/", "tests/fleet/read_once.cc"],
    r"grpcpp/": ["common/rpc/", "tests/e2e/", "_service.cc", "_service.h", "_link.cc", "_link.h"],
    r"curl/": ["common/net/"],
    r"httplib\.h": ["common/net/"],
    r"pugixml": ["common/vsphere/", "common/azure/"],
    r"spdlog/": ["common/log/"],
    r"prometheus/": ["common/metrics/"],
    r"liburing": ["common/os/linux/"],
    r"CLI/": ["common/daemon/posix/", "deploy/lab/link/", "config_server/cli/"],
    r"yaml-cpp/": ["config_server/cli/"],
    r"nlohmann/": ["common/azure/", "config_server/cli/"],
    r"systemd/": ["common/daemon/linux/"],
    r"uuid/": ["common/os/linux/"],
    r"bpf/": ["mobility_agent/capture/linux/"],
    r"(zstd|lz4|xxhash)\.h": ["common/wire/"],
}
BANNED = {
    r"\babsl::Now\(": ["common/clock/"],
    r"\b(sleep|usleep|nanosleep|sleep_for|sleep_until|SleepFor)\(": [],
    r"\b(s?rand|random_r)\(\)": [],
    r"\bgetenv\(": [],
    r"std::chrono::(system|steady)_clock": ["common/clock/", "common/exec/"],
}
# What only makes a problem or an issue; and a problem of ours that something is put into.
MAKES_A_PROBLEM = re.compile(r"\b(set_severity|set_retryable|add_causes|mutable_causes|set_action)\(|"
                             r"\bmutable_(problem|damage|repaired)\(\)->set_")
A_PROBLEM = re.compile(r"\b(?:Problem|HealthIssue)[&*]?(?: const)? (\w+)\b(?!\()")
PROBLEMS_HOME = "common/problem/"
SYSTEM_HEADERS = re.compile(
    r'#include <(unistd|fcntl|pthread|dirent|sys/[a-z_]+|linux/[a-z_]+|windows)\.h>')
SYSTEM_HOMES = ("/linux/", "/posix/", "/windows/")


def strip_comment(line):
    return re.sub(r"//.*", "", re.sub(r'"(\\.|[^"\\])*"', '""', line))


def catalogue():
    """The names that problems have on the wire."""
    names = set()
    for path in (SOURCE / PROBLEMS_HOME).glob("*_problems.cc"):
        names |= set(re.findall(r'\.name = ("[A-Z0-9_]+")', path.read_text()))
    return names


def check_problem(path, number, line, code, variables, names):
    """Tests may say what they expect to read; a problem of their own they do not make either."""
    filled = re.search(r"\b(\w+)(\.|->)set_(id|number|action)\(", code)
    if MAKES_A_PROBLEM.search(code) or filled and filled[1] in variables:
        report(path, number, f"a problem is made by {PROBLEMS_HOME} only (MakeProblem, MakeIssue, IssueOf): {code.strip()}")
    is_test = path.name.endswith("_test.cc") or path.is_relative_to(SOURCE / "tests")
    for literal in re.findall(r'"[A-Z0-9_]+"', "" if is_test else line):
        if literal in names:
            report(path, number, f"{literal} is a problem of the catalogue: use its ProblemId")


def check_pages(files):
    """What stands in docs/decisions and in the change log was so at its time."""
    rooms = {path.relative_to(SOURCE).parts[0] for path in files}
    for path in files:
        if path.suffix != ".md" or path.name == "CHANGELOG.md" or "decisions" in path.parts:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            named = [(name, SOURCE / name) for name in re.findall(r"`([\w.-]+/[\w./-]+)`", line)
                     if name.split("/")[0] in rooms - {"build"}]
            linked = [(name, path.parent / name) for name in re.findall(r"\]\(([^):#]+)(?:#[^)]*)?\)", line)]
            for name, place in named + linked:
                if not place.exists():
                    report(path, number, f"{name} does not exist")


def main():
    targets, owner = graph()
    names = catalogue()
    check_pages(tracked())
    for path in tracked():
        if path.suffix not in (".cc", ".h"):
            continue
        relative = str(path.relative_to(SOURCE))
        text = path.read_text(errors="replace")
        lines, variables = text.splitlines(), set(A_PROBLEM.findall(text))
        if len(lines) > 1000:
            report(path, len(lines), "over 1,000 lines: a concept is missing")
        target = owner.get(path.resolve())
        allowed = reachable(targets, target) if target else None
        for number, line in enumerate(lines, 1):
            code = strip_comment(line)
            include = re.match(r'#include "([^"]+)"', line)
            if include and (SOURCE / include[1]).is_file() and allowed is not None:
                wanted = owner.get((SOURCE / include[1]).resolve())
                if wanted and wanted not in allowed:
                    report(path, number, f"includes {include[1]} of '{wanted}', which '{target}' does not name in DEPS")
            system = re.match(r"#include <([^>]+)>", line)
            if system:
                for pattern, homes in HOMES.items():
                    if re.match(pattern, system[1]) and not any(h in relative for h in homes):
                        report(path, number, f"<{system[1]}> belongs in {' or '.join(homes)}")
            if SYSTEM_HEADERS.match(line) and not any(h in "/" + relative for h in SYSTEM_HOMES):
                report(path, number, "names an operating system outside linux/, posix/, windows/")
            for pattern, homes in BANNED.items():
                if re.search(pattern, code) and not any(h in relative for h in homes):
                    report(path, number, f"banned call: {code.strip()}")
            if not relative.startswith(PROBLEMS_HOME):
                check_problem(path, number, line, code, variables, names)
            if re.search(r"\b(class|struct) \w*(Manager|Helper|Utils?|Impl)\b", code):
                report(path, number, f"a name that says nothing: {code.strip()}")
    if problems:
        print("\n".join(problems))
        sys.exit(1)
    print(f"lint: {len(owner)} files in {len(targets)} targets, no problems")


main()
