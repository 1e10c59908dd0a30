#!/usr/bin/env bash
# nice 19 yields nothing to a program of another session: with the kernel's autogroups (on by default), processor time is
# first shared between sessions as equals, and nice counts only within one. Two busy loops on one processor, one of them at
# nice 19: within one session it has a few per cent, in a session of its own about half. It is the session's own weight, in
# /proc/PID/autogroup, that helps. Linux with CONFIG_SCHED_AUTOGROUP; Debian 12's util-linux (setsid, taskset) and coreutils.
set -euo pipefail
[ "$(cat /proc/sys/kernel/sched_autogroup_enabled)" = 1 ]
spin='x=0; while :; do x=$((x+1)); done'
# The share of the second of two loops, in per cent, after some seconds.
share() {
  setsid taskset -c 0 bash -c "$spin" &
  local first=$!
  if [ "$1" = one ]; then
    kill "$first"
    setsid taskset -c 0 bash -c "bash -c '$spin' & echo \$! >$work/a; nice -n 19 bash -c '$spin' & echo \$! >$work/b; wait" &
  else
    echo "$first" >"$work/a"
    setsid nice -n 19 taskset -c 0 bash -c "$spin" &
    echo $! >"$work/b"
  fi
  sleep 1
  local a b
  a=$(cat "$work/a") b=$(cat "$work/b")
  sleep 6
  awk '{ used[NR] = $14 + $15 } END { printf "%d\n", 100 * used[2] / (used[1] + used[2]) }' <(cat "/proc/$a/stat") <(cat "/proc/$b/stat")
  kill "$a" "$b"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
one=$(share one)
two=$(share two)
echo "kernel $(uname -r): share of a loop at nice 19 beside one at nice 0: $one % in one session, $two % in a session of its own"
[ "$one" -lt 15 ] && [ "$two" -gt 35 ]
