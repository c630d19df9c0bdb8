"""How exact, how fast, and how whole stacks are: parts of tests/bench/bench.py."""

import os
import re
import shutil
import subprocess
import sys

import conftest
import pytest
import test_real

EXACT, SPEED, WHOLE = 8, 9, 10
SEEDS = 2  # the stops of a program are spread over as many runs
SCORE = r"^awake compared (\d+) exact (\d+) guessed (\d+) torn (\d+) lies (\d+) wrong_guesses (\d+)$"


def command_output(*command, **options):
    return subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          timeout=300, **options).stdout


# ---- exact stacks by single-stepping ----


def step(build, name, stops, every):
    """The sum of some runs: compared, exact, guessed, torn, lies, wrong guesses."""
    total = [0] * 6
    for seed in range(SEEDS):
        text = command_output(build / "truth/truth", stops // SEEDS, every, seed + 1, "rows", build / "truth" / name)
        match = re.search(SCORE, text, re.M)
        assert match, text[-300:]
        total = [sum(pair) for pair in zip(total, map(int, match.groups()))]
    return total


def exact(table, build, name, stops):
    compared, right, guessed, torn, lies, wrong = step(build, name, stops, 8)
    off = compared - right
    text = f"{100 * right / compared:.2f} % of {compared} stops exact ({guessed} of them guessed)"
    text += f"; {torn} cut where an exception overwrites the stack" if torn else ""
    if name == "musl":
        table.limit(EXACT, f"{name} (no tables): complete, but wrong", f"{lies + wrong} of {compared} stops; {text}", lies + wrong, "0", 1)
    else:
        table.limit(EXACT, name, f"{text}; {lies + wrong} complete, but wrong", off, "100.0 %, 0 wrong", compared * 0.0005)


# ---- speed ----


def figures(text, name):
    match = re.search(rf"^{name} us_a_stack ([\d.]+)(?: ns_a_frame ([\d.]+) frames ([\d.]+))?", text, re.M)
    assert match, text[-300:]
    return [float(word) if word else None for word in match.groups()]


def speed(table, build, name, pid, bar_tables=None):
    text = command_output(build / "truth/walks", 200, pid)
    rows, library, stock = (figures(text, kind) for kind in ("rows", "libunwind", "ptrace"))
    table.limit(SPEED, f"{name}: rows, a frame", f"{rows[1]:.0f} ns ({rows[0]:.2f} us a stack of {rows[2]:.0f} frames)", rows[1], "50 ns", 50)
    table.add(SPEED, f"{name}: libunwind over the same snapshots, with its cache", f"{library[0]:.2f} us a stack", "10 x rows",
              f"{library[0] / rows[0]:.1f} x ours")
    table.add(SPEED, f"{name}: libunwind-ptrace, no cache", f"{stock[0]:.0f} us a stack", "1,000 x rows", f"{stock[0] / rows[0]:.0f} x ours")
    tables, count, ms = re.search(r"^tables (\d+) rows (\d+) ms ([\d.]+)", text, re.M).groups()
    measured = f"{float(ms):.1f} ms for {tables} files, {count} rows"
    if bar_tables:
        table.limit(SPEED, f"{name}: all tables compiled", measured, float(ms), f"{bar_tables} ms", bar_tables)
    else:
        table.add(SPEED, f"{name}: all tables compiled", measured)


# ---- complete stacks beside other tools' ----

ROOTS = {"_start", "clone", "clone3", "__clone", "__clone3", "start_thread", "__libc_start_call_main", "__libc_start_main_impl", "__libc_start_main",
         "runtime.goexit", "runtime.goexit.abi0", "runtime.rt0_go", "runtime.mstart", "runtime.mcall", "runtime.systemstack"}


def share(good, all_):
    return f"{100 * good / all_:.1f} % of {all_}" if all_ else "no stacks"


def by_gdb(pid, rounds):
    """gdb says of itself when a stack is not whole; a `??` at the root is no first frame either."""
    good = total = 0
    for _ in range(rounds):
        text = command_output("gdb", "-p", pid, "-batch", "-nx", "-ex", "set pagination off", "-ex", "bt", env=dict(os.environ, DEBUGINFOD_URLS=""))
        frames = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?([^ (]+)", text, re.M)
        good += bool(frames) and frames[-1] in ROOTS | {"main"} and "Backtrace stopped" not in text
        total += bool(frames)
    return good, total


def by_eu_stack(pid, rounds):
    good = total = 0
    for _ in range(rounds):
        text = command_output("eu-stack", "-1", "-p", pid)
        frames = re.findall(r"^#\d+ +0x[0-9a-f]+ *(.*)$", text, re.M)
        good += bool(frames) and frames[-1].split(" - ")[0].strip() in ROOTS
        total += bool(frames)
    return good, total


def by_perf(pid, folder):
    data = os.path.join(folder, "perf.data")
    said = command_output("perf", "record", "--call-graph", "dwarf,65528", "-F", "99", "-p", pid, "-o", data, "--", "sleep", "2")
    text = command_output("perf", "script", "-i", data, "--no-inline", "-F", "ip,sym")
    stacks = [block.split("\n") for block in re.split(r"\n\s*\n", text) if re.match(r"\s+[0-9a-f]+ ", block)]
    if not stacks:
        pytest.skip(f"perf record does not work here: {said.strip().splitlines()[-1] if said.strip() else ''}"[:120])
    roots = [stack[-1].split(None, 1)[1] if stack[-1].strip() else stack[-2].split(None, 1)[1] for stack in (s for s in stacks if s)]
    return sum(root.strip() in ROOTS for root in roots), len(roots)


def whole(table, bench, name, pid, rounds=6):
    run = bench.record(pid, "-r", 199, "--max-overhead", "100%", seconds=2)
    table.limit(WHOLE, f"{name}: this tool", re.search(r"^stacks\s+(.*)$", run.stderr, re.M)[1], 100 * (1 - run.complete), "99 %", 1)
    for tool, measure, args in (("gdb", by_gdb, (pid, rounds)), ("eu-stack", by_eu_stack, (pid, rounds)), ("perf", by_perf, (pid, bench.folder))):
        if not shutil.which(tool):
            table.add(WHOLE, f"{name}: {tool}", "skipped: not installed")
            continue
        table.attempt(WHOLE, f"{name}: {tool}", lambda: table.add(WHOLE, f"{name}: {tool}", share(*measure(*args)), "peer"))


# ---- the programs ----

PYTHON = "def f(n):\n  return n if n == 0 else f(n - 1) + 1\nprint('ready', flush=True)\nwhile True: f(40)"
NODE = "function f(n) { return n == 0 ? 1 : f(n - 1) + Math.sqrt(n); }\nconsole.log('ready');\nfor (;;) f(40);"
HEADERS = "#include <%s>\n"


def compiling(folder):
    source = os.path.join(folder, "big.cc")
    with open(source, "w") as file:
        file.writelines(HEADERS % name for name in ("regex", "map", "algorithm", "functional", "iostream"))
        file.writelines(f"int f{i}(const std::string &s) {{ return std::regex_match(s, std::regex(\"{i}a*\")); }}\n" for i in range(400))
    return ["clang++", "-O2", "-c", "-o", os.path.join(folder, "big.o"), source]


def started(bench, name, action):
    """Runs action(pid) on a program that lives meanwhile."""
    if name in ("redis", "PostgreSQL"):
        service = test_real.Service()
        fixture, args = (test_real.redis, (bench.folder,)) if name == "redis" else (test_real.postgres, ())
        running = None
        try:
            function = getattr(fixture, "__wrapped__", None) or fixture._get_wrapped_function()
            running = function(service, *args)
            action(next(running) if hasattr(running, "__next__") else running)
        finally:
            service.close()
        return
    commands = {"python3": ["/usr/bin/python3", "-c", PYTHON], "node": ["node", "-e", NODE], "rust": [str(bench.build / "truth/rust"), "calm"],
                "clang++ compiling": compiling(bench.folder), "Go": [str(bench.build / "targets/go_busy")]}
    command = commands.get(name) or [str(bench.build / "targets" / name)]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not there")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        conftest.burn_until(process.pid, 300_000_000)
        pid = process.pid
        if name == "clang++ compiling":  # the driver starts the compiler
            pid = next(iter(test_real.children(pid)), pid)
        action(pid)
    finally:
        process.kill()
        process.wait()


def measure(bench, build, wanted, quick):
    table, bench.build = bench.table, build
    stops = 1000 if quick else 10000
    if EXACT in wanted:
        for name in sorted(os.listdir(build / "truth")):
            if name not in ("truth", "walks"):
                table.attempt(EXACT, name, exact, table, build, name, stops)
    if SPEED in wanted:
        for name in ("c_omit_fp", "cpp_inline", "redis", "PostgreSQL"):
            bar = 30 if name == "PostgreSQL" else None
            table.attempt(SPEED, name, started, bench, name, lambda pid: speed(table, build, name, pid, bar))
    if WHOLE in wanted:
        for name in ("redis", "PostgreSQL", "python3", "node", "Go", "rust", "clang++ compiling"):
            table.attempt(WHOLE, name, started, bench, name, lambda pid: whole(table, bench, name, pid))


if __name__ == "__main__":
    sys.exit("part of bench.py: bench.py BUILD --only=8,9,10")
