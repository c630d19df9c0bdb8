#!/usr/bin/python3
"""Figures beside limits and other tools, in one table: tests/bench/bench.py BUILD [--quick]

Machines are shared and noisy: throughput is compared in alternating pairs of windows with and without the tool, and medians are printed.
Nothing here fails because it was slow.
"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(sys.argv[1]).resolve()
QUICK = "--quick" in sys.argv
os.environ.update(CPROF_ATTACH=str(BUILD / "cprof-attach"), TARGETS=str(BUILD / "targets"))
os.environ["PATH"] += ":/usr/local/go/bin"
sys.path.insert(0, str(ROOT / "tests/e2e"))
import conftest  # noqa: E402
import test_real  # noqa: E402

TOOL = str(BUILD / "cprof-attach")
rows = []


def row(what, measured, limit=""):
    rows.append((what, measured, limit))
    print(f"{what:58} {measured:44} {limit}", flush=True)


class Spin(conftest.Target):
    """The program that sees its own pauses and counts its own work."""

    def __init__(self, threads):
        super().__init__([str(BUILD / "targets/spin"), str(threads)], bufsize=0)
        self.await_line("ready")
        self.window()

    def window(self):
        """(turns, gaps, p50, p99, max in us) since the last call."""
        self.process.stdin.write(b"\n")
        return [float(word) for word in self._read_line().split()]


def record(folder, pid, *args, duration="2s"):
    path = os.path.join(folder, "out.pb.gz")
    return subprocess.run([TOOL, "-p", str(pid), "-d", duration, "-o", path, "-v", *map(str, args)], capture_output=True, text=True)


def summary(run, pattern):
    match = re.search(pattern, run.stderr, re.M)
    return match[1] if match else "?"


def slowdown(threads):
    """The same work per second of CPU-bound threads with and without the tool, windows of equal length."""
    spin, ratios = Spin(threads), []
    for i in range(4 if QUICK else 10):
        rates = {}
        for with_tool in ((True, False) if i % 2 else (False, True)):
            tool = subprocess.Popen([TOOL, "-q", "-p", str(spin.pid), "-d", "30s", "-o", "/dev/null"],
                                    stderr=subprocess.DEVNULL) if with_tool else None
            if tool:
                conftest.wait_for(lambda: any(conftest.proc_status(spin.pid, "TracerPid", tid) != "0" for tid in conftest.threads_of(spin.pid)),
                                  "the tool has attached")
            begin = time.monotonic()
            spin.window()
            time.sleep(1)
            rates[with_tool] = spin.window()[0] / (time.monotonic() - begin)
            if tool:
                tool.kill()
                tool.wait()
        ratios.append(rates[True] / rates[False])
    spin.close()
    lost = 100 * (1 - statistics.median(ratios))
    spread = 100 * (max(ratios) - min(ratios))
    row(f"slowdown of {threads} busy thread{'s' if threads > 1 else ''} at 99 Hz", f"{lost:+.2f} % (spread {spread:.1f} points)")


def pauses(folder):
    """The pause as the target sees it, for this tool and its peers."""
    spin = Spin(1)
    time.sleep(2)
    _, n, p50, p99, longest = spin.window()
    row("gaps of a spinning thread, undisturbed", f"{n / 2:.0f}/s p50 {p50} p99 {p99} max {longest} us")
    spin.window()
    run = record(folder, spin.pid, duration="5s")
    _, n, p50, p99, longest = spin.window()
    row("the same at 99 Hz, seen from inside", f"{n / 5:.0f}/s p50 {p50} p99 {p99} max {longest} us")
    row("the tool's own word for it", summary(run, r"(median .*)$"))
    ours = float(summary(run, r"median ([\d.]+)"))
    for name, command in (("eu-stack -p", ["eu-stack", "-p", str(spin.pid)]),
                          ("gdb -batch 'thread apply all bt'", ["gdb", "-q", "-batch", "-p", str(spin.pid), "-ex", "thread apply all bt"])):
        if not shutil.which(command[0]):
            row(f"longest pause by {name}", f"skipped: {command[0]} is not installed")
            continue
        longest = []
        for _ in range(2 if QUICK else 5):
            spin.window()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
            longest.append(spin.window()[4])
        median = statistics.median(longest)
        row(f"longest pause by {name}", f"{median:.0f} us", f"{median / ours:.0f} times the tool's median")
    spin.close()


def completeness(folder):
    names = ["c_o0", "c_omit_fp", "cpp_inline", "static", "stripped", "altstack", "recurse", "threads64", "churn", "leader_exit"]
    for name in names:
        target = conftest.Target([str(BUILD / "targets" / name)])
        target.await_line("ready")
        run = record(folder, target.pid, "-r", 199)
        row(f"complete stacks, {name}", summary(run, r"stacks +(.*)$"), "bar 99 %")
        target.close()
    target = conftest.Target([str(BUILD / "targets/go_busy")])
    target.await_line("ready")
    row("complete stacks, Go", summary(record(folder, target.pid, "-r", 199), r"stacks +(.*)$"), "no bar yet")
    target.close()


def services(folder):
    """redis-server and a PostgreSQL backend under load, by the fixtures of the end-to-end tests."""
    for name, fixture, limit in (("redis", lambda s: test_real.redis.__wrapped__(s, folder), 1),
                                 ("PostgreSQL", lambda s: test_real.postgres.__wrapped__(s), 3)):
        service = test_real.Service()
        started = None
        try:
            started = fixture(service)
            pid = next(started) if hasattr(started, "__next__") else started
            run = record(folder, pid, "-r", 99, duration="5s" if QUICK else "10s")
            row(f"{name}: complete stacks", summary(run, r"stacks +(.*)$"), "bar 99 %")
            row(f"{name}: cpu", summary(run, r"cpu +(.*)$"), "bar 3 %")
            row(f"{name}: from the last sample to the file", summary(run, r"written +([\d.]+ s)"), f"bar {limit} s")
            row(f"{name}: peak memory", summary(run, r"peak memory ([\d.]+ MB)"), "bar 100 MB")
            row(f"{name}: own use", summary(run, r"own use +(.*?);"))
        except BaseException as error:  # pytest's skip is one
            row(name, f"skipped: {error}")
        finally:
            service.close()


def sleepers(folder):
    code = "import threading, time\nfor _ in range(1000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nprint('ready', flush=True)\ntime.sleep(60)"
    target = conftest.Target(["/usr/bin/python3", "-c", code])
    target.await_line("ready")
    for kind in ("cpu", "state"):
        run = record(folder, target.pid, "-e", kind, duration="5s")
        row(f"1,000 sleeping threads, -e {kind}", f"{summary(run, r'own use +(.*?);')}, {summary(run, r'pauses +(.*)$')}")
    target.close()


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        pauses(folder)
        for threads in (1, 8, 64):
            slowdown(threads)
        sleepers(folder)
        completeness(folder)
        services(folder)


if __name__ == "__main__":
    main()
