"""The EINTR canary (tests/targets/eintr_canary.c) as seen from outside: commands to it, and what it says of each case."""

import time

from conftest import wait_for

JUDGED = ("spurious", "lost", "wrong", "stuck", "early")


class Report:
    def __init__(self, lines):
        self.cases = {}
        for line in lines:
            words = line.split()
            if words[0] == "case":
                self.cases[words[1]] = {words[i]: int(words[i + 1]) for i in range(2, len(words) - 1, 2)}
            elif words[0] == "signals":
                self.sent, self.handled, self.ignored = (int(words[i]) for i in (2, 4, 6))

    def total(self, key):
        return sum(case[key] for case in self.cases.values())

    def faults(self):
        """What no kernel does without a tracer: {case: {kind of fault: number}}."""
        faults = {}
        for name, case in self.cases.items():
            found = {key: case[key] for key in JUDGED if case[key]}
            if found:
                faults[name] = {**found, "calls": case["calls"], **({"result": case["result"]} if case["wrong"] else {})}
        return faults

    def late(self):
        """Words: of the timeouts, how many ended more than 2 ms late, and which most often."""
        timed = {name: case for name, case in self.cases.items() if case["late"] or name.endswith("-end")}
        share = sum(case["late"] for case in timed.values()) / sum(case["calls"] for case in timed.values())
        most = max(timed, key=lambda name: timed[name]["late"] / max(1, timed[name]["calls"]))
        return f"{share:.2%} of the timeouts more than 2 ms late (most: {most} {timed[most]['late'] / max(1, timed[most]['calls']):.1%})"


class Canary:
    def __init__(self, target):
        self.target, self.pid = target, target.pid
        self.skipped = [line for line in target.head if line.startswith("skip ")]

    def _say(self, command):
        self.target.process.stdin.write(command.encode() + b"\n")
        self.target.process.stdin.flush()

    def report(self):
        """What happened since the last report."""
        self._say("report")
        self.target.head.clear()
        self.target.await_line("end")
        return Report(self.target.head)

    def watch(self, seconds, mode="quiet"):
        """The report of `seconds` in a mode: quiet, signals, ignored."""
        self._say(mode)
        time.sleep(0.05)
        self.report()
        time.sleep(seconds)
        report = self.report()
        self._say("quiet")
        return report

    def all_signals_arrive(self):
        # Some calls are fed by signals, so that there are always a few on their way: none is lost if the number sent at one moment
        # is handled by some later one.
        sent = self.report().sent
        wait_for(lambda: self.report().handled >= sent, f"{sent} signals are handled")
