#!/usr/bin/python3
"""Figures beside bars and other tools, in one table: tests/bench/bench.py BUILD [--quick] [--only=PART,...]

Machines are shared and noisy: throughput is compared in alternating pairs of windows with and without the tool, and medians are printed.
Nothing fails because it was slow. Exit status: 0, or 1 when something could not be measured for another reason than a missing program.
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

QUICK = "--quick" in sys.argv
PLACES = [word for word in sys.argv[1:] if not word.startswith("-")]
if len(PLACES) != 1:
    sys.exit("usage: bench.py BUILD [--quick] [--only=PART,...]")
ONLY = [int(part) for word in sys.argv if word.startswith("--only=") for part in word[7:].split(",")]
BUILD = Path(PLACES[0]).resolve()
os.environ.update(CPROF_ATTACH=str(BUILD / "cprof-attach"), TARGETS=str(BUILD / "targets"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
import conftest  # noqa: E402
import harm  # noqa: E402
import pytest  # noqa: E402
import stacks  # noqa: E402
import symbols  # noqa: E402
import test_real  # noqa: E402

SECONDS = 2 if QUICK else 4
PAIRS, WINDOW_S = (4, 0.5) if QUICK else (10, 1)
OWN_USE = r"^own use.*?([\d.]+) % of one core"
HEAD = ("name", "measured", "bar or peer", "ratio")
PARTS = ("exactness", "complete stacks", "the end of a run", "pauses, seen from inside the target",
         "slowdown of the target", "the tool's own CPU",
         "harm, seen from inside the target", "exact stacks by single-stepping", "speed of walks", "complete stacks beside other tools",
         "names, beside llvm-symbolizer")


class Table:
    def __init__(self):
        self.rows, self.failed = {}, False

    def add(self, part, name, measured, bar="-", ratio="-"):
        self.rows.setdefault(part, []).append((name, measured, bar, ratio))
        print(f"  {name}: {measured}", file=sys.stderr, flush=True)

    def limit(self, part, name, measured, value, bar, allowed):
        """`value` of what the bar allows."""
        self.add(part, name, measured, bar, f"{value / allowed:.2f} of bar")

    def attempt(self, part, name, measure, *args, **named):
        """One that cannot be measured costs no other."""
        try:
            measure(*args, **named)
        except pytest.skip.Exception as why:
            self.add(part, name, f"skipped: {why}")
        except (Exception, pytest.fail.Exception) as why:
            self.failed = True
            self.add(part, name, f"FAILED: {type(why).__name__}: {' '.join(str(why).split())[:150]}")

    def print(self):
        rows = [row for part in self.rows.values() for row in part] + [HEAD]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]

        def line(cells):
            return " | ".join(f"{cell:{width}}" for cell, width in zip(cells, widths)).rstrip()

        print(line(HEAD))
        for part in sorted(self.rows):
            print("-+-".join("-" * width for width in widths))
            print(line((f"({part}) {PARTS[part - 1]}", "", "", "")))
            for row in self.rows[part]:
                print(line(row))
        print("\n`of bar`: the measured deviation or cost over the most that the bar allows, so that up to 1 meets it; of complete stacks,"
              "\nthe incomplete ones over the allowed 1 %. `x ours`: the peer's figure over this tool's in the same run."
              "\nThe target cannot tell a stop from other delays: of N stops, its N largest gaps are printed, an upper bound.")


class Spin(conftest.Target):
    """The program that sees its own pauses and counts its own work."""

    def __init__(self, threads):
        super().__init__([str(BUILD / "targets/spin"), str(threads)], bufsize=0)
        self.await_line("ready")
        self.window()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def window(self, largest=0):
        """(turns, gaps, p50, p99, max in us) since the last call; the last three of the `largest` gaps only, if given."""
        self.process.stdin.write(b"%d\n" % largest)
        return [float(word) for word in self._read_line().split()]


class Hogs:
    """Processes that only take CPU time."""

    def __init__(self, number):
        self.processes = [subprocess.Popen([str(BUILD / "targets/c_o0")], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(number)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


class Bench:
    def __init__(self, folder):
        self.table, self.folder, self.tool = Table(), folder, conftest.Tool(folder)

    def start(self, name, *command):
        target = conftest.Target(command or [str(BUILD / "targets" / name)])
        try:
            target.await_line("ready")
        except BaseException:
            target.close()
            raise
        return target

    def record(self, pid, *args, seconds=SECONDS):
        path = os.path.join(self.folder, "out.pb.gz")
        run = self.tool.run("-p", pid, "-d", f"{seconds}s", "-o", path, "-v", *args)
        run.path = path
        assert run.code in (0, 1), f"exit code {run.code}: {run.stderr}"
        return run

    # ---- (1) and (2) ----

    def total(self, name, pid, *args, seconds=SECONDS):
        """A run, with its total beside the kernel's charge."""
        with conftest.CpuObserver(pid) as observer:
            run = self.record(pid, *args, seconds=seconds)
        profile = run.load()
        off = 100 * (profile.total_ns / observer.charged_ns(profile) - 1)
        self.table.limit(1, f"CPU total against the kernel's charge: {name}", f"{off:+.2f} %", abs(off), "3 %", 3)
        return run, profile

    def complete(self, name, run, bar=True):
        stacks = re.search(r"^stacks\s+(.*)$", run.stderr, re.M)
        text = stacks[1] if stacks else "?"
        if bar:
            self.table.limit(2, name, text, 100 * (1 - run.complete), "99 %", 1)
        else:
            self.table.add(2, name, text, "figure only")

    def split(self):
        target = self.start("split_30_70")
        try:
            _, profile = self.total("split_30_70", target.pid, "-r", 499, seconds=2 * SECONDS)
            truth = float(target.finish().split()[1])
        finally:
            target.close()
        off = 100 * (profile.share(lambda sample: "thirty" in sample.functions, profile.stacks) - truth)
        self.table.limit(1, "share of split_30_70's first function", f"{off:+.2f} points", abs(off), "3 points", 3)

    def states(self, name, pid):
        """Each thread's states against the wall time of the window."""
        profile = self.record(pid, "-e", "state").load()
        walls = {}  # by thread
        for sample in profile.samples:
            walls[sample.numbers["tid"]] = walls.get(sample.numbers["tid"], 0) + sample.ns
        worst = max((100 * (wall / 1e9 / profile.duration_s - 1) for wall in walls.values()), key=abs)
        self.table.limit(1, f"states of a thread against wall: {name}", f"{worst:+.2f} % (worst of {len(walls)})", abs(worst), "2 %", 2)

    def program(self, name):
        target = self.start(name)
        try:
            if name in ("c_o0", "threads64", "churn"):
                run, _ = self.total(name, target.pid)
            else:
                run = self.record(target.pid, "-r", 199, seconds=SECONDS / 2)
            self.complete(name, run, bar=name != "go_busy")
            if name == "threads64":
                self.table.attempt(1, "states of a thread against wall: threads64", self.states, name, target.pid)
        finally:
            target.close()

    # ---- (1), (2), (3): services under load, by the fixtures of the end-to-end tests ----

    def service(self, name, fixture, args, bar_s):
        service, started = test_real.Service(), None
        try:
            started = getattr(fixture, "__wrapped__", None) or fixture._get_wrapped_function()
            started = started(service, *args)
            pid = next(started) if hasattr(started, "__next__") else started
            run, _ = self.total(name, pid, seconds=1.5 * SECONDS)
            self.complete(name, run)
            late, peak = run.figure(r"written\s+([\d.]+) s"), run.figure(r"peak memory ([\d.]+) MB")
            self.table.limit(3, f"{name}: last sample to the finished file", f"{late:.2f} s", late, f"{bar_s} s", bar_s)
            self.table.limit(3, f"{name}: peak memory", f"{peak:.1f} MB", peak, f"{test_real.RSS_LIMIT_MB} MB", test_real.RSS_LIMIT_MB)
            self.own_use(f"{name}, -e cpu (the tool's own word)", run)
            self.table.attempt(1, f"states of a thread against wall: {name}", self.states, name, pid)
        finally:
            if hasattr(started, "__next__"):
                next(started, None)
            service.close()

    def own_use(self, name, run):
        self.table.add(6, name, f"{run.figure(OWN_USE):.2f} % of a core")

    # ---- (4) ----

    def pauses(self):
        with Spin(1) as spin:
            run = self.record(spin.pid, seconds=2 * SECONDS)
            stops = int(run.figure(r"^pauses\s+(\d+) stop"))
            _, _, *ours = spin.window(largest=stops)
            time.sleep(2 * SECONDS)
            _, n, *gaps = spin.window(largest=stops)
            self.table.add(4, f"undisturbed: the {stops} largest gaps as long", f"{us(gaps)} ({n / 2 / SECONDS:.0f}/s above 5 us)", "noise of this machine")
            self.table.add(4, "cprof-attach at 99 Hz: a stop, at most", f"{us(ours)} ({stops} stops)")
            for name, command in (("eu-stack -p PID", ["eu-stack", "-p", str(spin.pid)]),
                                  ("gdb -batch -p PID -ex 'thread apply all bt'",
                                   ["gdb", "-q", "-nx", "-batch", "-p", str(spin.pid), "-ex", "thread apply all bt"])):
                self.table.attempt(4, name, self.peer, name, command, spin, ours)
            self.table.attempt(4, "perf record --call-graph dwarf, 99 Hz", self.perf, spin, ours)

    def pause_in(self, name, threads, hogs, *args):
        """The tool's own words, and the kernel's: of a thread that never sleeps, the time it neither ran nor waited for a CPU."""
        with Spin(threads) as spin, Hogs(hogs):
            busy = [tid for tid in conftest.threads_of(spin.pid) if tid != spin.pid]
            begin, before = time.monotonic_ns(), sum(account_ns(spin.pid, tid) for tid in busy)
            run = self.record(spin.pid, *args)
            stopped = len(busy) * (time.monotonic_ns() - begin) - (sum(account_ns(spin.pid, tid) for tid in busy) - before)
            stops = run.figure(r"^pauses\s+(\d+) stop")
            p50, p99 = run.figure(r"median (\d+)"), run.figure(r"p99 (\d+)")
            wall = len(busy) * SECONDS * 1e9
            self.table.limit(4, name, f"p50 {p50:.0f}, p99 {p99:.0f}, max {run.figure(r'longest ([0-9]+)'):.0f} us ({stops:.0f} stops)",
                             max(p50 / 70, p99 / 250), "p50 70, p99 250 us", 1)
            self.table.add(4, f"{name}: by the kernel's account", f"{stopped / 1e3 / max(1, stops):.1f} us a stop, {100 * stopped / wall:.2f} % of the time")
            if threads == 8:
                due = 99 * run.figure(r"([\d.]+) s charged")  # as many as the CPU time that it had has periods
                taken = run.figure(r"^samples\s+(\d+)")
                self.table.limit(4, f"{name}: samples taken of those due", f"{100 * taken / due:.1f} %", 100 - 100 * taken / due, "95 %", 5)

    def pauses_under_load(self):
        cores = os.cpu_count()
        for hogs, machine in ((0, "idle machine"), (2 * cores, f"{2 * cores} busy processes beside")):
            for args in ((), ("--no-realtime",)):
                for threads in (1, 8):
                    name = f"{threads} thread{'s' * (threads > 1)}, {machine}{', --no-realtime' * bool(args)}"
                    self.table.attempt(4, name, self.pause_in, name, threads, hogs, *args)

    def peer(self, name, command, spin, ours):
        """The longest gap of each of some runs: the one that its attaching makes."""
        if not shutil.which(command[0]):
            pytest.skip(f"{command[0]} is not installed")
        longest = []
        for _ in range(4 if QUICK else 10):
            spin.window()
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
            longest.append(spin.window()[4])
            assert re.search(r"\bspin\b", done.stdout), f"no stack of the target: {done.stderr}"
        longest.sort()
        median = statistics.median(longest)
        self.table.add(4, name, us((median, longest[len(longest) * 99 // 100], longest[-1])) + f" ({len(longest)} runs)",
                       "peer: one stop each", f"{median / ours[0]:.3g} x ours (p50)")

    def perf(self, spin, ours):
        if not shutil.which("perf"):
            pytest.skip("perf is not installed")
        spin.window()
        done = subprocess.run(["perf", "record", "-F", "99", "--call-graph", "dwarf", "-o", os.path.join(self.folder, "perf.data"),
                               "-p", str(spin.pid), "--", "sleep", str(SECONDS)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        samples = re.search(r"\((\d+) samples\)", done.stderr)
        if done.returncode != 0 or not samples or samples[1] == "0":
            text = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            pytest.skip(f"perf does not work here: {text[:100]}")
        _, _, *gaps = spin.window(largest=int(samples[1]))
        self.table.add(4, "perf record --call-graph dwarf, 99 Hz", f"{us(gaps)} ({samples[1]} samples)", "peer: from the kernel",
                       f"{gaps[0] / ours[0]:.2f} x ours (p50)")

    # ---- (5) and (6) ----

    def rate(self, spin, with_tool):
        """Work per second of a window."""
        process = None
        if with_tool:
            process = self.tool.start("-q", "-p", spin.pid, "-d", "60s", "-o", os.path.join(self.folder, "slow.pb.gz"),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # spin's first thread sleeps, and a thread that never runs gets no tracer.
            conftest.wait_for(lambda: any(conftest.proc_status(spin.pid, "TracerPid", tid) not in (None, "0")
                                          for tid in conftest.threads_of(spin.pid)), "the tool has attached")
            time.sleep(0.1)
        try:
            spin.window()
            begin = time.monotonic()
            time.sleep(WINDOW_S)
            turns = spin.window()[0]
            return turns / (time.monotonic() - begin)
        finally:
            if process:
                process.kill()
                process.wait()

    def slowdown(self, threads, bar):
        with Spin(threads) as spin:
            lost = []
            for i in range(PAIRS):
                rates = {with_tool: self.rate(spin, with_tool) for with_tool in ((True, False) if i % 2 else (False, True))}
                lost.append(100 * (1 - rates[True] / rates[False]))
        low, _, high = statistics.quantiles(lost, n=4)
        median = statistics.median(lost)
        name = f"{threads} busy thread{'s' * (threads > 1)} at 99 Hz, {PAIRS} pairs"
        text = f"{median:+.2f} % (middle half {low:+.1f} to {high:+.1f}, all {min(lost):+.1f} to {max(lost):+.1f})"
        if bar:
            self.table.limit(5, name, text, max(0, median), f"{bar} %", bar)
        else:
            self.table.add(5, name, text)

    def cost(self, name, pid, *args, bar=None, sweep_bar=None):
        """The tool's CPU time once it has met every thread, by the kernel's account, and the rate it keeps meanwhile."""
        path = os.path.join(self.folder, "cost.pb.gz")
        process = self.tool.start("-p", pid, "-d", "60s", "-o", path, *args)
        try:
            time.sleep(2)
            begin, before = time.monotonic(), conftest.cpu_ns(process.pid)
            time.sleep(SECONDS)
            share = (conftest.cpu_ns(process.pid) - before) / 1e7 / (time.monotonic() - begin)
        finally:
            process.terminate()
            run = self.tool.finish(process)
        hertz = run.figure(r"\(([0-9.]+) Hz achieved")
        text = f"{share:.2f} % of a core, {hertz:.1f} Hz ({10 * share / hertz:.2f} ms a tick)"
        if sweep_bar:
            self.table.limit(6, name, text, 10 * share / hertz, f"{sweep_bar} ms a tick", sweep_bar)
        elif bar:
            self.table.limit(6, name, text, share, f"{bar} %", bar)
        else:
            self.table.add(6, name, text)

    def costs(self):
        with Spin(8) as spin:
            self.cost("8 busy threads, -e cpu, 99 Hz", spin.pid)
        for threads, cpu_bar, state_bar in ((1000, None, None), (10000, 30, 60)):
            for args, bar in (((), cpu_bar), (("-e", "state"), state_bar)):
                name = f"{threads:,} sleeping threads, -e {args[1] if args else 'cpu'}, 99 Hz"
                self.table.attempt(6, name, self.sleepers, name, threads, 0, *args, bar=bar)
                # One wakes at every tick: all must be looked at to find which, as many at a time as the budget allows, or all.
                self.table.attempt(6, name, self.sleepers, f"{name}, one wakes at every tick", threads, 10, *args, bar=bar)
                self.table.attempt(6, name, self.sleepers, f"{name}, the same, all looked at every time", threads, 10, *args, "--max-overhead", "100%",
                                   bar=bar, sweep_bar=0.6 if threads == 1000 else None)

    def sleepers(self, name, threads, waking, *args, **bars):
        target = self.start("wakers", str(BUILD / "targets/wakers"), str(threads), str(waking))
        try:
            self.cost(name, target.pid, *args, **bars)
        finally:
            target.close()

    def all(self):
        attempt, wanted = self.table.attempt, ONLY or range(1, 1 + len(PARTS))
        if {1, 2} & set(wanted):
            attempt(1, "split_30_70", self.split)
            for name in ("c_o0", "c_omit_fp", "cpp_inline", "static", "stripped", "altstack", "recurse", "churn", "threads64", "go_busy"):
                attempt(2, name, self.program, name)
        if 3 in wanted:
            attempt(3, "redis", self.service, "redis", test_real.redis, (self.folder,), 1)
            attempt(3, "PostgreSQL", self.service, "PostgreSQL", test_real.postgres, (), 3)
        if 4 in wanted:
            attempt(4, "pauses", self.pauses)
            self.pauses_under_load()
        if 5 in wanted:
            for threads, bar in ((1, 1), (8, 2), (64, None)):
                attempt(5, f"{threads} busy threads", self.slowdown, threads, bar)
        if 6 in wanted:
            attempt(6, "the tool's CPU", self.costs)
        if 7 in wanted:
            harm.measure(self.table)
        stacks.measure(self, BUILD, wanted, QUICK)
        symbols.measure(self, BUILD, wanted, QUICK)


def account_ns(pid, tid):
    """Nanoseconds that the thread has run or waited for a CPU."""
    with open(f"/proc/{pid}/task/{tid}/schedstat") as file:
        return sum(int(word) for word in file.read().split()[:2])


def us(gaps):
    return "p50 {:.1f}, p99 {:.1f}, max {:.1f} us".format(*gaps)


def main():
    if not os.access(conftest.TOOL, os.X_OK) or not (BUILD / "targets/spin").exists():
        sys.exit(f"bench: no tool or no targets in {BUILD}: make all targets BUILD={BUILD}")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        bench = Bench(folder)
        try:
            bench.all()
        finally:
            bench.table.print()
    return 1 if bench.table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
