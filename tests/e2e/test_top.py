"""top: what a person sees in a terminal, and that the terminal and the target are left as they were."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from canary import Canary
from conftest import TARGETS, TOOL, assert_untouched, burn_until, cpu_ns, proc_status, tracer_of, wait_for
from test_eintr import judge

DEADLINE_S = 60

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


class Terminal:
    """A terminal in which one command was typed: keys go in, and what stands there can be read."""

    def __init__(self, folder, columns, rows):
        self.folder, self.socket = folder, os.path.join(folder, "tmux")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TMUX", "LC_"))} | {"LC_ALL": "C.UTF-8"}
        # A shell that says nothing, and which knows jobs.
        shell = "env PS1='$ ' bash --norc --noprofile -i"
        subprocess.run(["tmux", "-S", self.socket, "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), shell],
                       check=True, env=environment, cwd=folder)
        self.await_text(r"^\$")

    def _tmux(self, *args):
        return subprocess.run(["tmux", "-S", self.socket, *args], check=True, capture_output=True, text=True).stdout

    def keys(self, *keys):
        self._tmux("send-keys", *keys)

    def type(self, text):
        self._tmux("send-keys", "-l", text)
        self.keys("Enter")

    def text(self):
        return self._tmux("capture-pane", "-p")

    def rows(self):
        return self.text().rstrip("\n").split("\n")

    def await_(self, condition, what):
        """The first true value of condition(text of the screen)."""
        last = []

        def look():
            time.sleep(0.05)  # each look starts a process
            last[:] = [self.text()]
            return condition(last[0])

        try:
            return wait_for(look, what, DEADLINE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last[0]}") from None

    def await_text(self, pattern):
        return self.await_(lambda text: re.search(pattern, text, re.M), f"{pattern!r} on the screen")

    def resize(self, columns, rows):
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)


@pytest.fixture
def terminal(folder):
    """terminal(columns, rows) -> Terminal."""
    opened = []

    def open_terminal(columns=100, rows=24):
        opened.append(Terminal(folder, columns, rows))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


@pytest.fixture
def top(terminal):
    """top(pid, *args) -> a Terminal with the first second's functions."""

    def start_top(pid, *args, columns=100, rows=24, shown=r"^ +\d+\.\d +\d+\.\d "):
        opened = terminal(columns, rows)
        # What the terminal was set to before and after shows whether it was given back.
        opened.type(f"stty -g > before; {TOOL} top {pid} {' '.join(args)}; echo code=$?; stty -g > after; echo d''one")
        opened.await_text(shown)
        return opened

    return start_top


def functions(text):
    """{name: (self, total)} of what is listed."""
    return {match[3]: (float(match[1]), float(match[2]))
            for match in re.finditer(r"^ *(\d+\.\d) +(\d+\.\d) +\d+\.\d\d  (\S+) ", text, re.M)}


def quit_and_check(terminal, key="q", code=0, said=""):
    if key:
        terminal.keys(key)
    terminal.await_text(r"^done$")
    text = terminal.text()
    assert f"code={code}\n" in text and said in text and "FUNCTION" not in text, text
    before, after = (open(os.path.join(terminal.folder, name)).read() for name in ("before", "after"))
    assert before == after, "the terminal is set otherwise than before"
    return text


def test_functions_with_their_shares(start, top, figure):
    target = start("split_30_70")
    terminal = top(target.pid)
    # Of four seconds' samples, at whatever rate this machine affords.
    def as_it_is(text):
        found = functions(text)
        return found if {"thirty", "seventy", "main"} <= set(found) and abs(found["thirty"][1] - 30) < 8 else None

    found = terminal.await_(as_it_is, "thirty with about 30 %")
    figure(f"thirty {found['thirty'][1]} %, seventy {found['seventy'][1]} %")
    assert abs(found["seventy"][1] + found["thirty"][1] - 100) < 5 and found["main"][1] > 99
    assert found["target_mix"][0] > 5 and found["main"][0] < 1
    text = terminal.text()
    assert re.match(rf"split_30_70 \({target.pid}\)  +[1-9]\d?\.\d % of a CPU  1 thread  by CPU time\n", text), text
    assert re.search(r"^stopped \d+\.\d\d % of its time: \d+ stops of", text, re.M), text
    assert re.search(r"target_mix +split_30_70$", text, re.M), text
    assert terminal.rows()[-1].startswith("q quit")
    assert tracer_of(target.pid) != 0
    quit_and_check(terminal)
    assert_untouched(target.pid)


def test_sorted_as_the_keys_say(start, top):
    terminal = top(start("split_30_70").pid)

    def names_in_order(text):
        names = list(functions(text))
        return "*FUNCTION" in text and len(names) > 4 and names == sorted(names)

    def by_total(text):
        totals = [total for _, total in functions(text).values()]
        return "*TOTAL%" in text and len(totals) > 4 and totals == sorted(totals, reverse=True)

    def by_self(text):
        shares = [share for share, _ in functions(text).values()]
        return "*SELF%" in text and len(shares) > 4 and shares == sorted(shares, reverse=True)

    terminal.await_(by_self, "functions by themselves")
    terminal.keys("n")
    terminal.await_(names_in_order, "functions by name")
    terminal.keys("t")
    terminal.await_(by_total, "functions by their total")
    terminal.keys("c")
    terminal.await_text(r"\*SELF s")
    terminal.keys("s")
    terminal.await_(by_self, "functions by themselves again")


def test_callers_of_the_chosen_function(start, top):
    terminal = top(start("split_30_70").pid)
    terminal.keys("Enter")
    # The hottest one: target_mix, or the clock, which both halves ask for the time.
    chosen = terminal.await_text(r"^TOTAL%  CALLERS OF (\w+)$")[1]

    def both_ways(text):
        found = re.findall(r"^ *(\d+\.\d)  ( *)(\w+)$", text, re.M)
        return found if {"thirty", "seventy", "main"} <= {name for _, _, name in found} else None

    rows = terminal.await_(both_ways, "both callers")
    assert rows[0][1:] == ("", chosen)
    shares = {name: float(share) for share, _, name in rows if name in ("thirty", "seventy")}
    assert abs(sum(shares.values()) - float(rows[0][0])) < 1
    indents = {name: len(indent) for _, indent, name in rows}
    assert indents["thirty"] == indents["seventy"] > 0
    assert [rows[i + 1][2] for i, row in enumerate(rows) if row[2] in shares] == ["main", "main"]
    terminal.keys("Escape")
    terminal.await_text(r"^q quit.*Enter callers")
    # The next function has others.
    terminal.keys("n", "End", "Enter")
    terminal.await_text(r"^TOTAL%  CALLERS OF thirty$|not seen")
    quit_and_check(terminal)


def test_threads_and_states(start, top):
    target = start("blocked")
    terminal = top(target.pid, "-e", "state", columns=120, rows=40)
    terminal.await_text(r"by all time, asleep or not")
    terminal.keys("T")
    terminal.await_text(r"TID +BUSY%  STATE +THREAD")
    for tid, name in target.tids().items():
        terminal.await_text(rf"^ *{tid} +\d+\.\d  sleeping  +{name}$")
    # The process is asleep: of its CPU time there is nothing to see, and that is said.
    terminal.keys("e")
    terminal.await_text(r"by CPU time")
    terminal.keys("T")
    terminal.await_text(r"has not used the CPU; press e")
    terminal.await_text(r"^no thread was stopped so far")
    terminal.keys("?")
    terminal.await_text(r"^HELP$")
    terminal.keys("x")
    terminal.await_text(r"FUNCTION")
    quit_and_check(terminal, "C-c")
    assert_untouched(target.pid)


def test_the_screen_may_change_its_size(start, top):
    terminal = top(start("split_30_70").pid, columns=100, rows=24)

    def fits(columns, rows):
        def look(text):
            lines = text.rstrip("\n").split("\n")
            return (len(lines) == rows and lines[-1].startswith("q quit") and max(map(len, lines)) <= columns and
                    lines[2].lstrip().startswith("*SELF%") and ("MODULE" in lines[2]) == (columns >= 56))

        return look

    for columns, rows in ((150, 40), (40, 10), (80, 24)):
        terminal.resize(columns, rows)
        terminal.await_(fits(columns, rows), f"{columns} by {rows}")
    # No larger than nothing: whatever is left out, it goes on.
    terminal.resize(3, 2)
    terminal.await_(lambda text: len(text.rstrip("\n").split("\n")) <= 2, "3 by 2")
    terminal.resize(80, 24)
    terminal.await_(fits(80, 24), "80 by 24 again")
    quit_and_check(terminal)


def stops(text):
    found = re.search(r": (\d+) stops", text)
    return int(found[1]) if found else 0


def test_a_pause_stops_nothing_and_counts_for_nothing(start, top):
    target = start("split_30_70")
    terminal = top(target.pid)
    terminal.keys("Space", "n")
    terminal.await_text(r"PAUSED(.|\n)*\*FUNCTION")  # the keys work
    before = stops(terminal.text())
    burn_until(target.pid, 1600000000)  # the second that had begun is over
    begin = cpu_ns(target.pid)
    burn_until(target.pid, 1200000000)
    unseen = cpu_ns(target.pid) - begin
    assert stops(terminal.text()) == before > 0
    terminal.keys("Space")
    # First comes the second from before the pause, and then the one that began after it.
    for _ in range(2):
        text = terminal.await_(lambda text: stops(text) > before and text, "more stops")
        before = stops(text)
    seen = sum(float(seconds) for seconds in re.findall(r"^ *\d+\.\d +\d+\.\d +(\d+\.\d\d) ", text, re.M))
    assert 0 < seen < (cpu_ns(target.pid) - unseen) / 1e9 + 0.1
    # It rests, but signals reach the target, and its end is seen.
    terminal.keys("Space")
    terminal.await_text("PAUSED")
    burn_until(target.pid, 1300000000)
    target.process.terminate()
    assert target.process.wait(30) == 0
    quit_and_check(terminal, None, 0, f"split_30_70 ({target.pid}) has ended")


def tool_that_watches(target):
    return int(subprocess.check_output(["pgrep", "-f", f"^{re.escape(TOOL)} top {target.pid}"]))


def test_sigterm_gives_the_terminal_back(start, top):
    target = start("split_30_70")
    terminal = top(target.pid)
    os.kill(tool_that_watches(target), signal.SIGTERM)
    quit_and_check(terminal, None)
    assert_untouched(target.pid)


def test_a_terminal_that_goes_away_ends_it(start, top):
    target = start("split_30_70")
    terminal = top(target.pid)
    tool = tool_that_watches(target)
    terminal.close()
    wait_for(lambda: (proc_status(tool, "State") or "Z")[0] == "Z", "the tool ends")  # whoever inherits it may reap it later
    assert_untouched(target.pid)


def test_suspended_it_has_let_go(start, top):
    target = start("split_30_70")
    terminal = top(target.pid)
    terminal.keys("C-z")
    terminal.await_text(r"^\[1\]\+  Stopped")
    assert tracer_of(target.pid) == 0
    assert_untouched(target.pid, "R")
    terminal.type("fg")
    terminal.await_text(r"\*SELF%")
    wait_for(lambda: tracer_of(target.pid), "it is traced again")
    terminal.await_text(r"^ +\d+\.\d +\d+\.\d ")
    terminal.keys("q")
    terminal.await_text(r"^\$$")
    assert_untouched(target.pid)


def test_names_do_not_steer_the_terminal(start, top, folder):
    path = shutil.copy(os.path.join(TARGETS, "split_30_70"), os.path.join(folder, "a\x1b[31m\x1b]0;b\x07"))
    terminal = top(start(path).pid)
    text = terminal.await_text(r"target_mix +a").string
    assert text.startswith("a?[31m?]0;b? (") and "target_mix" in text


def test_calls_are_not_disturbed(start, top):
    canary = Canary(start("eintr_canary"))
    terminal = top(canary.pid, "-e", "state")
    quiet, signals = canary.watch(1, "quiet"), canary.watch(1, "signals")
    terminal.await_(stops, "stops of some threads")
    assert judge(quiet) == {}
    assert judge(signals, signals=signals.sent) == {}
    quit_and_check(terminal)
    canary.all_signals_arrive()


# ---- where nothing can be shown ----

def one_line(run, code, *words):
    assert run.code == code and len(run.lines) == 1 and run.stdout == b"", run
    assert all(word in run.stderr for word in words), run.stderr


def test_without_a_terminal(start, tool):
    target = start("split_30_70")
    one_line(tool.run("top", target.pid), 2, "terminal", "cprof-attach -p PID")
    assert_untouched(target.pid)


@pytest.mark.parametrize("term, words", [("", "TERM is not set"), ("dumb", "TERM is dumb"), ("nonsense-7", "nonsense-7")])
def test_a_terminal_of_no_use(start, terminal, term, words):
    target = start("split_30_70")
    opened = terminal(160)
    opened.type(f"clear; TERM={term} {TOOL} top {target.pid}; echo code=$?")
    opened.await_text(r"^code=2$")
    line = next(row for row in opened.rows() if row.startswith("cprof-attach: "))
    assert words in line and "cprof-attach -p PID" in opened.text()
    assert_untouched(target.pid)


def test_refusals(start, tool):
    one_line(tool.run("top"), 64, "cprof-attach top PID")
    one_line(tool.run("top", "x"), 64, "'x' is not a PID")
    one_line(tool.run("top", 1, "--duration", 3), 64, "--duration", "cprof-attach top --help")
    one_line(tool.run("top", 1, "-n", "x"), 64, "one process at a time")
    one_line(tool.run("top", 2 ** 22 + 1), 2, "no process")
    target = start("split_30_70")
    holder = start("holder", target.pid)
    one_line(tool.run("top", target.pid), 2, str(holder.pid))
