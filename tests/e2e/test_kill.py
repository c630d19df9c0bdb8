"""The tool killed at random moments: each target goes on as if nothing had been."""

import os
import random
import signal
import subprocess
import threading
import time

import pytest
from conftest import TOOL, assert_untouched, burn_until, cpu_ns, proc_status, threads_of, tracer_of, wait_for

NAMES = ["threads64", "churn", "forker", "exec_loop", "stopped", "eintr_canary"]
KILLS = 504
# A moment between the start and well within the sampling; AddressSanitizer takes longer to start.
LATEST_S, LATEST_SANITIZED_S = 0.06, 0.4


def start_victim(start, name):
    target = start("c_o0" if name == "stopped" else name)
    if name == "stopped":
        os.kill(target.pid, signal.SIGSTOP)
        wait_for(lambda: proc_status(target.pid, "State")[0] == "T", "the target is stopped")
    return target


class Killer(threading.Thread):
    """Starts the tool on a target and kills it, again and again; what it finds wrong is in `problem`."""

    def __init__(self, name, target, kills, latest_s, seed):
        super().__init__()
        self.latest_s = latest_s
        self.name, self.target, self.kills, self.chance = name, target, kills, random.Random(f"{seed} {name}")
        self.held, self.problem = 0, None
        self.used_ns = cpu_ns(target.pid)

    def run(self):
        try:
            for i in range(self.kills):
                self.once("cpu" if i % 2 else "state")
        except BaseException as error:  # pytest's failures are among them
            self.problem = error

    def once(self, event):
        command = [TOOL, "-p", str(self.target.pid), "-e", event, "-d", "60s", "-r", "999", "-o", "/dev/null", "-q"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.chance.uniform(0, self.latest_s))
        held = tracer_of(self.target.pid) != 0
        self.held += held
        # On a busy machine the tool comes later: some moments are to lie before it has attached, and some after.
        self.latest_s *= 0.9 if held else 1.05
        process.kill()
        process.wait()
        assert_untouched(self.target.pid, "T" if self.name == "stopped" else "RSD")
        if self.name == "stopped":
            # Each stop of a stopped thread is some microseconds in the kernel, for which it is charged.
            assert cpu_ns(self.target.pid) - self.used_ns < self.kills * 200_000, "it ran"


def goes_on(name, target):
    if name == "stopped":
        os.kill(target.pid, signal.SIGCONT)
    burn_until(target.pid, 10_000_000)
    if name == "churn":
        seen = set(threads_of(target.pid))
        wait_for(lambda: set(threads_of(target.pid)) - seen, "it goes on to create threads")
    elif name == "forker":
        forked, reaped = target.finish().split()[1::2]
        assert int(forked) > 10 and forked == reaped
    elif name == "exec_loop":
        count = executions(target.pid)
        wait_for(lambda: executions(target.pid) > count, "it goes on to execute itself")


def executions(pid):
    with open(f"/proc/{pid}/cmdline") as file:
        words = file.read().split("\0")
        return int(words[1]) if len(words) > 2 else 0


def kill_at_random(start, kills, latest_s=LATEST_S, names=NAMES):
    """`kills` in all, over all targets at the same time: (seed, {name: how many of its kills met a tool that had attached})."""
    seed = random.randrange(1 << 32)
    killers = [Killer(name, start_victim(start, name), kills // len(names), latest_s, seed) for name in names]
    for killer in killers:
        killer.start()
    for killer in killers:
        killer.join()
    for killer in killers:
        assert killer.problem is None, f"{killer.name}, seed {seed}: {killer.problem}"
        goes_on(killer.name, killer.target)
    return seed, {killer.name: killer.held for killer in killers}


def test_tool_killed_at_random_moments(start, figure, sanitized):
    kills, latest_s = (KILLS // 4, LATEST_SANITIZED_S) if sanitized else (KILLS, LATEST_S)
    seed, held = kill_at_random(start, kills, latest_s)
    figure(f"{kills} kills, of a tool that had attached: {held}")
    for name, n in held.items():
        assert n >= kills // len(NAMES) // 8, f"only {n} kills met a tool that had attached to {name} (seed {seed})"
