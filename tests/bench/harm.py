#!/usr/bin/python3
"""What the tool does to its target, seen from the target's side, in rows for bench.py's table; alone: tests/bench/harm.py BUILD [--quick]

The EINTR canary under this tool, and under gdb and eu-stack, which show that it bites; kills at random moments; 10,000 sleepers; Redis and
PostgreSQL with and without the tool in alternating pairs.
"""

import contextlib
import glob
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PART = 7
QUICK = "--quick" in sys.argv
if __name__ == "__main__":
    places = [word for word in sys.argv[1:] if not word.startswith("-")]
    if len(places) != 1:
        sys.exit("usage: harm.py BUILD [--quick]")
    os.environ.update(CPROF_ATTACH=str(Path(places[0]).resolve() / "cprof-attach"), TARGETS=str(Path(places[0]).resolve() / "targets"))
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
import conftest  # noqa: E402
import pytest  # noqa: E402
import test_kill  # noqa: E402
import test_real  # noqa: E402
import test_scale  # noqa: E402
from canary import Canary  # noqa: E402

WATCH_S = 3 if QUICK else 15
KILLS = 240 if QUICK else 2004
SLEEPERS = 10000
PAIRS, WINDOW_S = (4, 1) if QUICK else (10, 3)


@contextlib.contextmanager
def started():
    """start("name", args...), as in the tests."""
    targets = []

    def start(name, *args):
        target = conftest.Target([os.path.join(conftest.TARGETS, name), *map(str, args)])
        targets.append(target)
        target.await_line("ready")
        return target

    try:
        yield start
    finally:
        for target in targets:
            target.close()


@contextlib.contextmanager
def tool_on(pid, *args):
    """The tool at work, until the end of the block; what it then says is in the list."""
    said = []
    process = subprocess.Popen([conftest.TOOL, "-p", str(pid), "-d", "3600s", "-o", "/dev/null", *map(str, args)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    conftest.wait_for(lambda: conftest.tracer_of(pid) or process.poll() is not None, f"the tool traces {pid}")
    try:
        yield said
    finally:
        alive = process.poll() is None
        process.send_signal(signal.SIGINT)
        said.append(process.communicate()[1])
        assert alive, f"the tool ended early: {said[0]}"


# ---- EINTR ----

def canary_row(table, name, reports, stops, bar):
    quiet = reports[0]
    faults = sum(report.total(key) for report in reports for key in ("spurious", "lost", "stuck", "early"))
    wrong = sum(report.total("wrong") for report in reports)
    spurious = " / ".join(str(report.total("spurious")) for report in reports)
    measured = (f"{spurious} spurious EINTR (quiet / handled / ignored signals), "
                f"{sum(report.total('lost') for report in reports)} lost, {wrong} other results, "
                f"{sum(report.total('short') for report in reports)} short, {quiet.late()}, of "
                f"{sum(report.total('calls') for report in reports)} calls{stops}")
    table.add(PART, name, measured, bar, f"{faults} faults")


def canary_under_tool(table, canary):
    canary_row(table, "blocking calls, untraced", [canary.watch(WATCH_S / 3, mode) for mode in ("quiet", "signals", "ignored")], "", "0 faults")
    for event in ("cpu", "state"):
        for rate in (99, 999):
            with tool_on(canary.pid, "-e", event, "-r", rate, "--max-overhead", "100%") as said:
                reports = [canary.watch(WATCH_S / 3, mode) for mode in ("quiet", "signals", "ignored")]
            stops = re.search(r"(\d+) stops", said[0])
            canary_row(table, f"blocking calls under -e {event} -r {rate}", reports, f", {stops[1] if stops else '?'} stops", "0 spurious, 0 lost")
    canary.all_signals_arrive()


class Again:
    """A command that attaches and lets go, again and again while the block runs."""

    def __init__(self, command):
        self.command, self.runs, self.process = command, 0, None

    def watch(self, canary, seconds):
        canary.report()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            subprocess.run(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
            self.runs += 1
        return canary.report()


def canary_under_peers(table, canary):
    for name, command in (("gdb -batch 'thread apply all bt'", ["gdb", "-q", "-batch", "-p", str(canary.pid), "-ex", "thread apply all bt"]),
                          ("eu-stack -p", ["eu-stack", "-p", str(canary.pid)])):
        if not shutil.which(command[0]):
            table.add(PART, f"blocking calls under {name}", f"skipped: {command[0]} is not installed")
            continue
        again = Again(command)
        report = again.watch(canary, WATCH_S / 3)
        worst = sorted(((case["spurious"], kind) for kind, case in report.cases.items()), reverse=True)[:3]
        most = ", ".join(f"{kind} {n}" for n, kind in worst)
        table.add(PART, f"blocking calls under {name}", f"{report.total('spurious')} spurious EINTR in {again.runs} runs (most: {most}), {report.late()}",
                  "the canary bites: > 0", "")


def canaries(table):
    with started() as start:
        canary = Canary(start("eintr_canary"))
        canary_under_tool(table, canary)
        canary_under_peers(table, canary)


# ---- kills, sleepers ----

def kills(table):
    with started() as start:
        seed, held = test_kill.kill_at_random(start, KILLS)
    table.add(PART, f"the tool killed {KILLS} times at random",
              f"all targets went on, none left stopped; {sum(held.values())} kills met an attached tool", "0 stopped, 0 dead", f"seed {seed}")


def sleepers(table):
    with started() as start, tempfile.TemporaryDirectory() as folder:
        target = start("sleepers", SLEEPERS)
        before = test_scale.switches(target.pid)
        for event, bar in (("cpu", 30), ("state", 60)):
            run = conftest.Tool(folder).run("-p", target.pid, "-e", event, "-d", "5s", "-o", "/dev/null", "--max-overhead", "100%")
            own, rate = run.figure(r"^own use.*?([\d.]+) % of one core"), run.figure(r"([\d.]+) Hz achieved")
            table.limit(PART, f"{SLEEPERS} sleepers, -e {event}", f"{own:.1f} % of one core at {rate:.0f} Hz", own, f"{bar} %", bar)
        after = test_scale.switches(target.pid)
        woken = sum(after[tid] != before[tid] for tid in before if tid != target.pid)
        table.add(PART, f"{SLEEPERS} sleepers, stops of them", f"{woken} were given a CPU", "0", "")


# ---- servers under load ----

class Servers:
    """Processes that end with the block, the last one first, by SIGINT: a postmaster then ends at once and in order."""

    def __init__(self):
        self.processes = []

    def __enter__(self):
        return self

    def start(self, command, **popen):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **popen})
        self.processes.append(process)
        return process

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)
            process.wait(30)


def pairs_row(table, name, pid, rate, errors):
    """Throughput of a load that goes on all the time, in windows with and without the tool. rate() measures one window; errors() is a
    total. The first second of the tool, in which it reads unwind tables, is left out, and as much of the windows without it."""
    ratios, before = [], errors()
    for i in range(PAIRS):
        rates = {}
        for with_tool in ((True, False) if i % 2 else (False, True)):
            with tool_on(pid) if with_tool else contextlib.nullcontext():
                time.sleep(1)
                rates[with_tool] = rate()
        ratios.append(rates[True] / rates[False])
    low, median, high = statistics.quantiles(ratios, n=4)
    table.add(PART, name, f"{median:.4f} of its throughput (middle half {low:.3f} to {high:.3f}, all {min(ratios):.3f} to {max(ratios):.3f}); "
              f"{errors() - before} errors or dropped connections", f"without it, {PAIRS} pairs", f"{median:.4f}")


REDIS_ERRORS = "rejected_connections|client_query_buffer_limit_disconnections|client_output_buffer_limit_disconnections|total_error_replies"


def redis(table):
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        raise pytest.skip.Exception("redis is not installed (apt-get install redis-server)")
    with tempfile.TemporaryDirectory() as folder, Servers() as servers:
        socket = os.path.join(folder, "redis.sock")
        server = servers.start(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder])
        conftest.wait_for(lambda: os.path.exists(socket), "redis-server listens")
        # It ends at the first connection that it loses, and in a hundred million requests.
        load = servers.start(["redis-benchmark", "-s", socket, "-q", "-t", "set", "-n", "100000000", "-r", "10000", "-c", "50"])

        def info(keys):
            text = subprocess.run(["redis-cli", "-s", socket, "info"], capture_output=True, text=True, check=True).stdout
            return sum(int(value) for value in re.findall(rf"^(?:{keys}):(\d+)", text, re.M))

        def rate():
            begin, done = time.monotonic(), info("total_commands_processed")
            time.sleep(WINDOW_S)
            return (info("total_commands_processed") - done) / (time.monotonic() - begin)

        conftest.burn_until(server.pid, 500_000_000)
        pairs_row(table, "redis-benchmark, redis-server at 99 Hz", server.pid, rate, lambda: info(REDIS_ERRORS) + (load.poll() is not None))


class Progress(threading.Thread):
    """What pgbench -P 1 says each second."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.rates, self.errors = stream, [], 0

    def run(self):
        for line in self.stream:
            progress = re.match(r"progress: [\d.]+ s, ([\d.]+) tps.*?(?:, (\d+) failed)?$", line)
            if progress:
                self.errors += int(progress[2] or 0)
                self.rates.append(float(progress[1]))
            elif line.strip() and "pgbench (" not in line:
                self.errors += 1

    def next(self, n):
        """The mean of the next n whole seconds."""
        at = len(self.rates) + 1
        conftest.wait_for(lambda: len(self.rates) >= at + n, "pgbench makes progress")
        return statistics.mean(self.rates[at:at + n])


def postgres(table):
    service = test_real.Service()
    cluster = test_real.postgres.__wrapped__(service)
    try:
        next(cluster)
        # Its own load is for one profile; ours says how fast it is.
        load = service.processes.pop()
        command = [word if word != "300" else "3600" for word in load.args]
        folder = command[command.index("-h") + 1]
        load.terminate()
        load.wait()
        process = subprocess.Popen([*command, "-P", "1"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        service.processes.append(process)
        progress = Progress(process.stderr)
        progress.start()
        backend = conftest.wait_for(busy_backend, "pgbench's backend, at work")
        pairs_row(table, "pgbench, its backend at 99 Hz", backend, lambda: progress.next(WINDOW_S),
                  lambda: progress.errors + (process.poll() is not None))
    finally:
        next(cluster, None)  # ends the cluster and removes it


def busy_backend():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError), open(path) as file:
            pid = int(path.split("/")[2])
            # pgbench's first connection only asks for the scale, and ends.
            if file.read().startswith("postgres: postgres postgres [local]") and conftest.cpu_ns(pid) > 300_000_000:
                return pid
    return None


def measure(table):
    for name, part in (("the EINTR canary", canaries), ("kills", kills), ("sleepers", sleepers), ("redis-benchmark", redis), ("pgbench", postgres)):
        table.attempt(PART, name, part, table)


class Lines:
    """The table's place when this runs alone."""

    def __init__(self):
        self.failed = False

    def add(self, _part, name, measured, bar="-", ratio="-"):
        print(f"{name} | {measured} | {bar} | {ratio}", flush=True)

    def limit(self, part, name, measured, value, bar, allowed):
        self.add(part, name, measured, bar, f"{value / allowed:.2f} of bar")

    def attempt(self, _part, name, part, *args):
        try:
            part(*args)
        except pytest.skip.Exception as why:
            self.add(PART, name, f"skipped: {why}")
        except (Exception, pytest.fail.Exception) as why:
            self.failed = True
            self.add(PART, name, f"FAILED: {type(why).__name__}: {' '.join(str(why).split())[:300]}")


if __name__ == "__main__":
    lines = Lines()
    measure(lines)
    sys.exit(1 if lines.failed else 0)
