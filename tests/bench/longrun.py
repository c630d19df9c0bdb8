#!/usr/bin/python3
"""A long run on a target whose threads come and go: does the tool's memory grow? tests/bench/longrun.py BUILD [MINUTES [TARGET]]

Profiles for MINUTES (60) at 99 Hz, notes the tool's resident set each second, and prints a line each minute. The bars: below 64 MB, and no growth
after the first minute beyond a tenth. Exit status 1 when one is missed, or the run failed.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if len(sys.argv) < 2:
    sys.exit("usage: longrun.py BUILD [MINUTES [TARGET]]")
BUILD = Path(sys.argv[1]).resolve()
MINUTES = float(sys.argv[2]) if len(sys.argv) > 2 else 60
TARGET = sys.argv[3] if len(sys.argv) > 3 else "thread_storm"
os.environ.update(CPROF_ATTACH=str(BUILD / "cprof-attach"), TARGETS=str(BUILD / "targets"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
import conftest  # noqa: E402

LIMIT_MB, GROWTH = 64, 1.1


def resident_mb(pid, key="VmRSS"):
    word = conftest.proc_status(pid, key)
    return int(word.split()[0]) / 1024 if word else 0


def watch(process, until):
    """The resident set in each second of the run."""
    seen, begin = [], time.monotonic()
    while process.poll() is None and time.monotonic() < until:
        now = resident_mb(process.pid)
        if now:
            seen.append(now)
        if len(seen) % 60 == 0:
            files = len(os.listdir(f"/proc/{process.pid}/fd"))
            minute, used_s = (time.monotonic() - begin) / 60, conftest.cpu_ns(process.pid) / 1e9
            print(f"minute {minute:4.0f}: {now:.1f} MB resident, {files} open files, {used_s:.1f} s of CPU", flush=True)
        time.sleep(1)
    return seen


def main():
    target = conftest.Target([str(BUILD / "targets" / TARGET)])
    target.await_line("ready")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.pb.gz")
        begin = time.monotonic()
        process = subprocess.Popen([conftest.TOOL, "-p", str(target.pid), "-d", f"{round(MINUTES * 60)}s", "-o", path], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        seen = watch(process, begin + MINUTES * 60 - 2)
        # The end, with its symbols, has its own peak.
        said = process.communicate(timeout=120)[1]
        size = os.path.getsize(path) if os.path.exists(path) else 0
    target.close()
    print(said)
    first, rest = seen[:60], seen[60:]
    peak, growth = max(seen), max(rest, default=first[-1]) / max(first)
    written = re.search(r"peak memory ([\d.]+ MB)", said)
    print(f"{MINUTES:g} minutes on {TARGET}: at most {peak:.1f} MB resident (bar {LIMIT_MB}), {growth:.2f} times the first minute's most (bar {GROWTH}), "
          f"{size / 1e6:.2f} MB of profile{', ' + written[1] + ' at the end' if written else ''}")
    return 0 if process.returncode == 0 and peak < LIMIT_MB and growth <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
