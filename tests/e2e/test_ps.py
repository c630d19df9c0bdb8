"""ps: what runs, what it is, whether it can be profiled; choosing a process by its name; a newcomer's way."""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios

import pprof
import pytest
from conftest import TARGETS, assert_untouched, proc_status, tracer_of, wait_for
from situations import AS_NOBODY, PROCESS_VM_READV, PTRACE, forbidding

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start programs as other users")
COLUMNS = ("USER", "RUNTIME", "SYMBOLS", "ATTACH", "COMMAND")


def rows_of(output):
    """{PID: {column: text}}, by where the titles stand."""
    lines = output.splitlines()
    title = next(i for i, line in enumerate(lines) if line.split()[:3] == ["PID", "THR", "CPU"])
    starts = [lines[title].index(f"{name} " if name != "COMMAND" else name) for name in COLUMNS]
    rows = {}
    for line in lines[title + 1:]:
        match = re.match(r" *(\d+) +(\d+) +(\d+)% ", line)
        if match:
            row = {name: line[at:end].strip() for name, at, end in zip(COLUMNS, starts, [*starts[1:], None])}
            rows[int(match[1])] = {**row, "THR": int(match[2]), "CPU": int(match[3])}
    return rows


def listed(tool, *args, **popen):
    run = tool.run("ps", *args, **popen)
    assert (run.code, run.stderr) == (0, ""), run.stderr
    return rows_of(run.stdout.decode())


def next_of(output):
    return re.search(r"^next +(.+)$", output, re.M)[1]


@pytest.fixture
def copy(folder):
    """copy("name", objcopy arguments...) -> the path of a copy of a target under another name."""
    def make(name, *objcopy, of="c_o0"):
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if objcopy:
            subprocess.run(["objcopy", *objcopy, os.path.join(TARGETS, of), path], check=True)
        else:
            shutil.copy(os.path.join(TARGETS, of), path)
        return path
    return make


# ---- what is listed ----

def test_a_process_and_what_is_known_of_it(start, tool):
    target = start("threads64")
    row = listed(tool)[target.pid]
    assert row["THR"] == len(os.listdir(f"/proc/{target.pid}/task"))
    assert (row["RUNTIME"], row["SYMBOLS"], row["ATTACH"]) == ("C", "DWARF", "yes")
    assert row["COMMAND"] == " ".join(map(str, target.process.args))
    assert row["USER"] == subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    assert_untouched(target.pid)


def test_the_busy_come_first(start, tool):
    idle, busy = start("undumpable"), start("c_o0")
    rows = listed(tool)
    assert list(rows).index(busy.pid) < list(rows).index(idle.pid)
    assert 0 < rows[busy.pid]["CPU"] <= 101, "it has one thread"
    assert rows[idle.pid]["CPU"] == 0


def test_kernel_threads_zombies_and_itself_are_left_out(tool):
    with subprocess.Popen(["true"]) as zombie:
        wait_for(lambda: proc_status(zombie.pid, "State")[0] == "Z", "the child is a zombie")
        process = tool.start("ps")
        pids = rows_of(tool.finish(process).stdout.decode())
        assert os.getpid() in pids, "the test itself is listed"
        assert zombie.pid not in pids and process.pid not in pids
        assert all(proc_status(pid, "Kthread") in (None, "0") for pid in pids)
        if proc_status(2, "Name") == "kthreadd":
            assert 2 not in pids


@pytest.mark.parametrize("name, runtime, symbols", [
    ("cpp_inline", "C++", "DWARF"), ("static", "C/C++", "DWARF"), ("stripped", "C", "stripped"), ("c_o0", "C", "DWARF")])
def test_native_programs(start, tool, name, runtime, symbols):
    target = start(name)
    row = listed(tool, "-n", name)[target.pid]
    assert (row["RUNTIME"], row["SYMBOLS"]) == (runtime, symbols)


@pytest.mark.parametrize("name, symbols", [("go_busy", "DWARF"), ("go_stripped", "Go table"), ("go_pie_stripped", "Go table"), ("go_cgo", "DWARF")])
def test_go_and_its_version(start, tool, name, symbols):
    target = start(name)
    row = listed(tool, "-n", name)[target.pid]
    says = subprocess.run([pprof.go_command(), "version", os.path.join(TARGETS, name)], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\bgo([\d.]+)", says)[1]
    assert (row["RUNTIME"], row["SYMBOLS"]) == (f"Go {version}", symbols)


def test_the_python_that_runs_this(tool):
    row = listed(tool)[os.getpid()]
    assert re.match(rf"Python( {sys.version_info[0]}\.{sys.version_info[1]})?$", row["RUNTIME"]), row


@pytest.mark.parametrize("program, args, runtime", [
    ("perl", ("-e", "sleep 60"), r"Perl"), ("node", ("-e", "setTimeout(() => 0, 60000)"), r"Node"), ("ruby", ("-e", "sleep 60"), r"Ruby( \d\.\d)?"),
    ("bash", ("-c", "read x"), r"C")])
def test_other_runtimes(tool, program, args, runtime):
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    with subprocess.Popen([path, *args], stdin=subprocess.PIPE) as process:
        try:
            wait_for(lambda: os.path.realpath(f"/proc/{process.pid}/exe") == os.path.realpath(path), f"{program} runs")
            row = wait_for(lambda: listed(tool).get(process.pid), "it is listed")
            assert re.fullmatch(runtime, row["RUNTIME"]), row
        finally:
            process.kill()


@pytest.mark.parametrize("name, runtime", [
    ("node", "Node"), ("beam.smp", "Erlang"), ("lua5.4", "Lua 5.4"), ("php-fpm8.2", "PHP 8.2"), ("mono-sgen", "Mono"), ("python3.12", "Python 3.12"),
    ("node_exporter", "C"), ("rubyist", "C")])
def test_a_program_by_its_name(start, tool, copy, name, runtime):
    target = start(copy(name))
    assert listed(tool, "-n", name)[target.pid]["RUNTIME"] == runtime


@pytest.mark.parametrize("library, runtime", [
    ("jvm/java-17-openjdk-amd64/lib/server/libjvm.so", "JVM 17"), ("shared/Microsoft.NETCore.App/8.0.1/libcoreclr.so", ".NET 8.0.1"),
    ("libpython3.11.so.1.0", "C (Python 3.11)"), ("libruby-3.1.so.3.1", "C (Ruby 3.1)"), ("libperl.so.5.36", "C (Perl 5.36)"),
    ("liblua5.4.so.0", "C (Lua 5.4)"), ("libphp8.2.so", "PHP 8.2")])
def test_a_program_by_what_it_has_loaded(start, tool, copy, library, runtime):
    target = start("c_o0", env={**os.environ, "LD_PRELOAD": copy(library, of="plug_a.so")})
    assert listed(tool, "-n", "c_o0")[target.pid]["RUNTIME"] == runtime


def test_rust(start, tool, copy, folder):
    comment = os.path.join(folder, "comment")
    with open(comment, "wb") as file:
        file.write(b"GCC: (Debian 12.2.0-14) 12.2.0\0rustc version 1.70.0 (90c541806 2023-05-31)\0")
    target = start(copy("rusty", f"--update-section=.comment={comment}"))
    assert listed(tool, "-n", "rusty")[target.pid]["RUNTIME"] == "Rust 1.70.0"


def test_names_that_are_elsewhere(start, tool, copy):
    debug = copy("away.debug", "--only-keep-debug", of="stripped.full")
    linked = start(copy("away", "--strip-all", f"--add-gnu-debuglink={debug}", of="stripped.full"))
    mini = start(copy("mini", "--strip-all", f"--add-section=.gnu_debugdata={debug}", of="stripped.full"))
    plain = start(copy("withsyms", "--strip-debug", of="stripped.full"))
    rows = listed(tool)
    assert [rows[target.pid]["SYMBOLS"] for target in (linked, mini, plain)] == ["debug file", "minidebuginfo", "symbols"]


# ---- may it be profiled? ----

@as_root
def test_what_a_user_may_profile(start, tool, public_tool, public_targets):
    anothers, protected = start("c_o0"), start(os.path.join(public_targets, "undumpable"), command=AS_NOBODY)
    own = start(os.path.join(public_targets, "c_o0"), command=AS_NOBODY)
    done = subprocess.run([*AS_NOBODY, public_tool, "ps"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    rows = rows_of(done.stdout)
    assert rows[anothers.pid]["ATTACH"] == "another user"
    assert rows[anothers.pid]["RUNTIME"] == rows[anothers.pid]["SYMBOLS"] == "?"
    assert rows[protected.pid]["ATTACH"] == "not dumpable"
    if not os.path.exists("/proc/sys/kernel/yama/ptrace_scope"):
        assert rows[own.pid]["ATTACH"] == "yes"
    assert rows[own.pid]["USER"] == rows[protected.pid]["USER"] == "nobody"
    named = subprocess.run([*AS_NOBODY, public_tool, "ps", "-n", "undumpable"], capture_output=True, text=True, timeout=60).stdout
    assert next_of(named) == f"sudo cprof-attach -p {protected.pid} -d 10s -f flamegraph"


def test_one_that_is_traced_and_where_ptrace_is_forbidden(start, tool):
    target = start("c_o0")
    assert listed(tool, "-n", "c_o0", preexec_fn=forbidding(PTRACE, PROCESS_VM_READV))[target.pid]["ATTACH"] == "yes", "ps does not call ptrace"
    start("holder", target.pid)
    run = tool.run("ps", "-n", "c_o0$")
    assert rows_of(run.stdout.decode())[target.pid]["ATTACH"] == "being traced"
    assert next_of(run.stdout.decode()) == f"cprof-attach check {target.pid}"


# ---- how it looks ----

def on_terminal(tool, columns, lines, *args):
    """What stands on a terminal of this size."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = tool.start("ps", *args, stdout=terminal)
    os.close(terminal)
    output = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:
            break
        if not piece:
            break
        output += piece
    os.close(controller)
    assert process.wait(60) == 0
    return output.decode().replace("\r\n", "\n")


def test_it_fits_the_terminal(start, tool):
    targets = [start("sleepers", 1) for _ in range(12)]
    small = on_terminal(tool, 60, 12)
    assert max(map(len, small.splitlines())) <= 60
    assert len(small.splitlines()) <= 11, "the prompt has a line of its own"
    assert len(rows_of(small)) < len(targets)
    assert re.search(r"^\d+ more that are less busy: -a shows all$", small, re.M)
    whole = on_terminal(tool, 200, 12, "--all")
    assert {target.pid for target in targets} <= set(rows_of(whole))
    assert "more that" not in whole
    assert any(len(line) > 60 for line in whole.splitlines())


def test_names_cannot_steer_the_terminal(start, tool, copy):
    target = start("c_o0", command=("bash", "-c", 'exec -a $\'evil\\n 77 1 0% \\e[31m\\xff\\u009b1m\' "$0"'))
    run = tool.run("ps", "-n", "c_o0")
    output = run.stdout.decode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", output)
    assert 77 not in rows_of(output)
    assert rows_of(output)[target.pid]["COMMAND"].startswith("evil? 77 1 0% ?[31m?")
    disguised = start(copy("ev\x1b[31mil\x9b"))
    start("holder", disguised.pid)
    for run in (tool.run("check", disguised.pid), tool.run("-p", disguised.pid)):
        said = run.stdout.decode() + run.stderr
        assert "(ev?[31mil??)" in said and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said), said
    said = tool.run("-n", "evl").stderr + tool.run("-n", "e").stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)


def test_usage(tool):
    for args in (("-z",), ("-n",), ("-n", ""), ("redis",), ("-n", "a", "b"), ("--all=1",)):
        run = tool.run("ps", *args)
        assert (run.code, run.stdout, len(run.lines)) == (64, b"", 1), (args, run.stderr)
    assert "-n 'redis'" in tool.run("ps", "redis").stderr


# ---- by name ----

def test_choosing_by_name(start, tool, copy, folder):
    target, longer = start(copy("unique-name")), start(copy("unique-name-2"))
    for pattern in ("unique-name", "^unique-name-2$", "me-2", "unique-[n]ame-."):
        run = tool.run("-n", pattern, "-d", "200ms", "-o", os.path.join(folder, "out.pb.gz"))
        assert run.code == 0, run.stderr
        wanted = target if pattern == "unique-name" else longer
        comments = subprocess.run([pprof.go_command(), "tool", "pprof", "-comments", os.path.join(folder, "out.pb.gz")], capture_output=True, text=True)
        assert f"PID {wanted.pid} " in comments.stdout, f"{pattern}: {comments.stdout}"
        assert tool.run("check", "-n", pattern).stdout.decode().split()[1] == str(wanted.pid)


def test_several_that_are_called_so(start, tool, copy):
    program = copy("twofold")
    targets = [start(program) for _ in range(2)]
    for args in (("-n", "twofold", "-d", "60s"), ("-n", "twof.ld", "-d", "60s"), ("check", "-n", "twofold")):
        run = tool.run(*args, deadline_s=10)
        assert (run.code, run.stdout, len(run.lines)) == (2, b"", 1), run.stderr
        assert re.search("^cprof-attach: 2 processes .* -p PID", run.stderr)
        for target in targets:
            assert re.search(rf"\b{target.pid} \(\w+, {program}", run.stderr), run.stderr
            assert tracer_of(target.pid) == 0


def test_many_that_are_called_so(start, tool, copy):
    program = copy("a-name-" + "x" * 60)
    targets = [start(program, "y" * 300) for _ in range(20)]
    run = tool.run("-n", "a-name-")
    assert (run.code, len(run.lines)) == (2, 1)
    assert run.stderr.startswith("cprof-attach: 20 processes")
    named = [target.pid for target in targets if re.search(rf"\b{target.pid} \(", run.stderr)]
    assert f"and {20 - len(named)} more" in run.stderr and len(named) >= 3


def test_none_that_is_called_so(start, tool, copy):
    target = start(copy("manuscript"))
    run = tool.run("-n", "manuscritp")
    assert (run.code, len(run.lines)) == (2, 1)
    assert f"is it manuscript (PID {target.pid})?" in run.stderr
    run = tool.run("ps", "-n", "no process has such a name")
    assert (run.code, run.stdout, len(run.lines)) == (2, b"", 1)
    assert "cprof-attach ps" in run.stderr


def test_what_stands_only_in_the_command_line(start, tool, copy):
    """A script's name: ps finds it, -n says where it is. The tool's own command line, and its starter's, do not count."""
    target = start("c_o0", "my-script.py")
    assert list(listed(tool, "-n", "my-script")) == [target.pid]
    nested = ("sh", "-c", 'sh -c "$@"; exit $?', "sh", '"$0" "$@"; exit $?')
    run = tool.run("-n", "my-script", command=nested)
    assert run.code == 2
    assert f"-p {target.pid}" in run.stderr
    nobody = tool.run("-n", "nobodys-script", command=nested)
    assert nobody.code == 2 and "command line" not in nobody.stderr, nobody.stderr


def test_name_and_pid_are_not_mixed(tool):
    for args in (("-p", "1", "-n", "x"), ("-n", "x", "1"), ("-n", "")):
        assert tool.run(*args).code == 64


# ---- a newcomer's way ----

def test_each_step_suggests_the_next(start, tool, copy, folder):
    """Commands are taken from what was said before, as a person would."""
    start(copy("redis-like"))
    def typed(line):
        words = line.removeprefix("sudo ").split()
        assert words[0] == "cprof-attach"
        if "--format" not in tool.run("--help").stdout.decode():
            words = [word for word in words if word not in ("-f", "flamegraph")]
        words = ["300ms" if word == "10s" else word for word in words]
        return tool.run(*words[1:])
    first = tool.run()
    assert (first.code, first.stdout) == (64, b"")
    assert len(first.lines) <= 8
    line = next(line for line in first.lines if "ps -n redis" in line)
    second = typed(line.split("  ")[1].strip())
    assert second.code == 0, second.stderr
    assert "redis-like" in second.stdout.decode()
    third = typed(next_of(second.stdout.decode()))
    assert third.code == 0, third.stderr
    assert [name for name in os.listdir(folder) if name.startswith("cprof-redis-like")], os.listdir(folder)


def test_a_long_list(tool, figure):
    """2,000 processes: each program is looked at once, and what is asked of each is little. Printed, not asserted."""
    script = "for i in range(2000):\n import os, signal\n if os.fork() == 0: signal.pause()\nprint('ready', flush=True)\nsignal.pause()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True) as crowd:
        try:
            assert crowd.stdout.readline() == b"ready\n"
            run = tool.run("ps", "--all", "-n", "signal.pause")
            rows = rows_of(run.stdout.decode())
            assert len(rows) == 2001
            assert {row["RUNTIME"].split()[0] for row in rows.values()} == {"Python"}
            figure(f"2,001 processes listed in {run.elapsed_s:.2f} s, 0.20 s of it to measure CPU")
        finally:
            os.killpg(crowd.pid, 9)
