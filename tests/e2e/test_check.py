"""check says beforehand what a real attach then says, in each situation, and touches nothing."""

import ctypes
import os
import re
import shutil
import subprocess

import pytest
from conftest import TOOL, assert_untouched, need_other_users, proc_status, tracer_of, wait_for
from situations import (AS_NOBODY, PROCESS_VM_READV, PTRACE, WITHOUT_SYS_PTRACE, enter_landlock, forbidding,
                        landlock_abi)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start programs as other users")


def spawn(tool, program, args, command=(), **popen):
    process = subprocess.Popen([*command, program, *map(str, args)], cwd=tool.folder, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen)
    tool.running.append(process)
    return tool.finish(process)


def line_of(run, title):
    """What stands behind a title in check's output; None when it is not there."""
    match = re.search(rf"^{title} +(.*)$", run.stdout.decode(), re.M)
    return match and match[1]


def profile(tool, pid, program=TOOL, **situation):
    output = os.path.join(tool.folder, "out.pb.gz")
    return spawn(tool, program, ("-p", pid, "-d", "200ms", "-o", output), **situation)


def agree_that_it_cannot(tool, pid, *words, program=TOOL, **situation):
    """The very same sentence before and after, and nothing happened to the target at the check."""
    run = spawn(tool, program, ("check", pid), **situation)
    assert run.code == 2, f"exit code {run.code}:\n{run.stdout.decode()}{run.stderr}"
    said = line_of(run, "attach")
    assert said and said.startswith("no: "), run.stdout.decode()
    refused = profile(tool, pid, program, **situation)
    assert refused.code == 2, refused.stderr
    assert refused.lines == ["cprof-attach: " + said.removeprefix("no: ")]
    for word in words:
        assert re.search(word, said, re.I), f"no {word!r} in: {said}"
    quiet = spawn(tool, program, ("check", "-q", pid), **situation)
    assert (quiet.code, quiet.stdout, quiet.stderr) == (2, b"", "")


def agree_that_it_can(tool, pid, program=TOOL, code=0, **situation):
    run = spawn(tool, program, ("check", pid), **situation)
    assert run.code == code, f"exit code {run.code}:\n{run.stdout.decode()}{run.stderr}"
    assert line_of(run, "attach").startswith("yes")
    assert tracer_of(pid) == 0
    real = profile(tool, pid, program, **situation)
    assert os.path.exists(os.path.join(tool.folder, "out.pb.gz")), real.stderr
    return run, real


def test_nothing_is_in_the_way(start, tool):
    target = start("threads64")
    run, real = agree_that_it_can(tool, target.pid)
    assert real.code == 0
    assert line_of(run, "process").startswith(f"{target.pid} threads64 ({os.path.realpath(target.process.args[0])}), user ")
    assert line_of(run, "threads").startswith(f"{len(os.listdir(f'/proc/{target.pid}/task'))}: ")
    assert re.search(r"\bDWARF +\S*threads64\b", run.stdout.decode())
    assert "all files" in line_of(run, "unwind")
    assert line_of(run, "next") == f"cprof-attach -p {target.pid} -d 10s -f flamegraph"
    assert line_of(run, "where") is None


def test_no_such_process(tool):
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    run = tool.run("check", gone.pid)
    assert (run.code, run.stdout) == (2, b"")
    assert run.lines == tool.run("-p", gone.pid).lines


def test_usage(tool):
    for args in ((), ("x",), ("1", "2"), ("1", "-n", "x"), ("-n",), ("-n", ""), ("--nope", "1")):
        run = tool.run("check", *args)
        assert (run.code, run.stdout, len(run.lines)) == (64, b"", 1), run.stderr


def test_a_zombie(tool):
    with subprocess.Popen(["true"]) as zombie:
        wait_for(lambda: proc_status(zombie.pid, "State")[0] == "Z", "the child is a zombie")
        agree_that_it_cannot(tool, zombie.pid, "zombie")


def test_a_leader_that_has_ended(start, tool):
    target = start("leader_exit")
    run, real = agree_that_it_can(tool, target.pid)
    assert "1 running" in line_of(run, "threads")
    assert "leader_exit" in run.stdout.decode().split("symbols", 1)[1], "the living thread's maps"


def test_the_id_of_a_thread(start, tool):
    target = start("threads64")
    agree_that_it_cannot(tool, next(iter(target.tids())), "thread", str(target.pid))


def test_a_kernel_thread(tool):
    if (proc_status(2, "Name"), proc_status(2, "PPid")) != ("kthreadd", "0"):
        pytest.skip("process 2 is not kthreadd here (a container)")
    agree_that_it_cannot(tool, 2, "kernel thread")


def test_a_32_bit_process(start, tool):
    try:
        target = start("i386_pause")
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error.strerror}")
    agree_that_it_cannot(tool, target.pid, "32-bit")


def test_a_process_that_is_traced(start, tool):
    target = start("c_o0")
    holder = start("holder", target.pid)
    agree_that_it_cannot(tool, target.pid, rf"traced by holder \(PID {holder.pid}\)")


def test_one_of_its_threads_is_traced(start, tool):
    target = start("threads64")
    tid = next(tid for tid in target.tids() if tid != target.pid)
    holder = start("holder", tid)
    run = tool.run("check", target.pid)
    assert run.code == 1, run.stdout.decode()
    assert line_of(run, "traced") == f"1 of the threads is traced by process {holder.pid}: it cannot be sampled"


def test_a_stopped_process(start, tool):
    target = start("c_o0")
    target.process.send_signal(19)
    wait_for(lambda: proc_status(target.pid, "State")[0] == "T", "it is stopped")
    run, real = agree_that_it_can(tool, target.pid)
    assert f"kill -CONT {target.pid}" in line_of(run, "stopped")
    assert_untouched(target.pid, "T")


@as_root
def test_a_process_of_another_user(start, tool, public_tool):
    target = start("c_o0")
    agree_that_it_cannot(tool, target.pid, r"another user \(UID 0, you are 65534\)", "sudo", program=public_tool, command=AS_NOBODY)


@as_root
def test_ones_own_process_that_forbids_it(start, tool, public_tool, public_targets):
    target = start(os.path.join(public_targets, "undumpable"), command=AS_NOBODY)
    agree_that_it_cannot(tool, target.pid, "not dumpable", program=public_tool, command=AS_NOBODY)


@as_root
def test_ones_own_process_with_more_capabilities(start, tool, public_tool, public_targets):
    more = (*AS_NOBODY, "--inh-caps=+net_raw", "--ambient-caps=+net_raw")
    target = start(os.path.join(public_targets, "c_o0"), command=more)
    agree_that_it_cannot(tool, target.pid, "capabilities that you lack", program=public_tool, command=AS_NOBODY)


@as_root
def test_ones_own_process(start, tool, public_tool, public_targets):
    """What makes the refusals above refusals."""
    scope = "/proc/sys/kernel/yama/ptrace_scope"
    target = start(os.path.join(public_targets, "c_o0"), command=AS_NOBODY)
    if not os.path.exists(scope) or open(scope).read() == "0\n":
        agree_that_it_can(tool, target.pid, program=public_tool, command=AS_NOBODY)
    else:
        agree_that_it_cannot(tool, target.pid, "ptrace_scope", program=public_tool, command=AS_NOBODY)


@as_root
def test_root_without_the_capability(start, tool, public_targets):
    target = start(os.path.join(public_targets, "c_o0"), command=AS_NOBODY)
    agree_that_it_cannot(tool, target.pid, "CAP_SYS_PTRACE", command=WITHOUT_SYS_PTRACE)


@as_root
def test_another_pid_namespace(start, tool):
    target = start("c_o0", command=("unshare", "--pid", "--fork", "--kill-child"))
    child = wait_for(lambda: open(f"/proc/{target.pid}/task/{target.pid}/children").read().split(), "unshare has a child")[0]
    run, real = agree_that_it_can(tool, int(child))
    assert real.code == 0
    assert re.search(r"\bpid\b.*its PID there is 1$", line_of(run, "where"))


def need_user_namespaces():
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True).returncode != 0:
        pytest.skip("user namespaces are forbidden here")


@as_root
def test_a_process_in_another_user_namespace(start, tool):
    need_user_namespaces()
    target = start("c_o0", command=("unshare", "--user", "--map-root-user"))
    run, real = agree_that_it_can(tool, target.pid)
    assert real.code == 0
    assert re.search(r"\buser\b", line_of(run, "where"))


def test_from_a_user_namespace(start, tool):
    need_user_namespaces()
    target = start("c_o0")
    agree_that_it_cannot(tool, target.pid, "user namespace", command=("unshare", "--user", "--map-root-user"))


@pytest.mark.parametrize("calls", [(PTRACE,), (PTRACE, PROCESS_VM_READV)])
def test_seccomp_as_in_a_container(start, tool, calls):
    target = start("c_o0")
    agree_that_it_cannot(tool, target.pid, "seccomp", preexec_fn=forbidding(*calls))


def test_a_seccomp_filter_that_forbids_to_read_memory(start, tool):
    target = start("c_o0")
    run, real = agree_that_it_can(tool, target.pid, code=1, preexec_fn=forbidding(PROCESS_VM_READV))
    assert "process_vm_readv" in line_of(run, "stacks")
    assert line_of(run, "unwind") is None
    assert real.figure(r"stacks +([\d.]+) % complete") == 0, "as it was said"


def test_landlock(start, tool):
    if landlock_abi() < 1:
        pytest.skip("this kernel has no Landlock")
    target = start("c_o0")
    agree_that_it_cannot(tool, target.pid, "security module", preexec_fn=enter_landlock)


# ---- what there will be to see ----

def copy_of(folder, name, *objcopy):
    from conftest import TARGETS
    path = os.path.join(folder, name)
    subprocess.run(["objcopy", *objcopy, os.path.join(TARGETS, "stripped.full"), path], check=True)
    return path


def test_a_program_without_unwind_information(start, tool):
    program = copy_of(tool.folder, "bare", "--remove-section=.eh_frame", "--remove-section=.eh_frame_hdr", "--strip-debug")
    with open(program, "r+b") as file:  # objcopy leaves the program header
        head = bytearray(file.read(0x1000))
        at, n = int.from_bytes(head[32:40], "little"), int.from_bytes(head[56:58], "little")
        for i in range(n):
            if head[at + 56 * i:at + 56 * i + 4] == (0x6474E550).to_bytes(4, "little"):
                head[at + 56 * i:at + 56 * i + 4] = bytes(4)
        file.seek(0)
        file.write(head)
    target = start(program)
    run, real = agree_that_it_can(tool, target.pid, code=1)
    assert "guessed" in line_of(run, "unwind")
    assert re.search(r"\bsymbols +\S*/bare\b.*no unwind information", run.stdout.decode())


def test_a_stripped_program_and_its_symbols(start, tool):
    folder = os.path.join(tool.folder, "symbols")
    os.mkdir(folder)
    shutil.copy(copy_of(tool.folder, "full", "--only-keep-debug"), folder)
    target = start(copy_of(tool.folder, "plain", "--strip-all"))
    before = tool.run("check", target.pid)
    assert before.code == 0
    assert re.search(r"stripped +\S*/plain\b", before.stdout.decode())
    assert "--debuginfo-path" in line_of(before, "names")
    after = tool.run("check", target.pid, "--debuginfo-path", os.path.join(folder, "full"))
    assert re.search(r"debug file +\S*/plain\b", after.stdout.decode())


def test_the_package_of_a_stripped_file(start, tool):
    """By what dpkg itself says."""
    path = os.path.realpath(shutil.which("sleep"))
    names = [path, path.removeprefix("/usr")]  # /bin may be a link to /usr/bin, of which dpkg does not know
    searches = [subprocess.run(["dpkg", "-S", name], capture_output=True, text=True) for name in names if shutil.which("dpkg")]
    packages = [search.stdout.split(":")[0] for search in searches if search.returncode == 0]
    if not packages:
        pytest.skip("no dpkg, or it does not know sleep")
    with subprocess.Popen([path, "60"]) as process:
        wait_for(lambda: os.path.realpath(f"/proc/{process.pid}/exe") == path, "it runs")
        run = tool.run("check", process.pid)
        process.kill()
    if f"stripped       {path}" not in run.stdout.decode():
        pytest.skip("sleep has symbols here")
    assert re.search(rf"\b{re.escape(packages[0])}\b", line_of(run, "names"))


def test_code_that_is_compiled_at_run_time(start, tool):
    target = start("jit")
    map_file = f"/tmp/perf-{target.pid}.map"
    had = os.path.exists(map_file)
    run = tool.run("check", target.pid)
    assert run.code == 0
    assert re.match(r"\d+ KB of code", line_of(run, "jit"))
    assert ("no perf map" in line_of(run, "jit")) == (not had)
    if not had:
        try:
            with open(map_file, "w") as file:
                file.write("1000 10 f\n")
            assert "a perf map is there" in line_of(tool.run("check", target.pid), "jit")
        finally:
            os.unlink(map_file)


# ---- it touches nothing ----

def test_it_touches_nothing(start, tool):
    """No call that could: no ptrace, no signal, no write; and no more of its memory is asked for than that no process has."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    target = start("threads64")
    trace = os.path.join(tool.folder, "trace")
    run = tool.run("check", target.pid, command=("strace", "-f", "-o", trace))
    assert run.code == 0, run.stderr
    with open(trace) as file:
        calls = file.read()
    assert f"/proc/{target.pid}/status" in calls, "strace saw it"
    assert not re.search(r"\b(ptrace|kill|tkill|tgkill|pidfd_\w+|rt_\w*sigqueueinfo|process_vm_writev|process_madvise|"
                         r"sched_set\w+|setpriority|prlimit64\((?!0,)|kcmp|perf_event_open)\(", calls)
    assert not re.search(rf'open\w*\([^"]*"/proc/{target.pid}[^"]*", [^)]*O_(WRONLY|RDWR)', calls)
    reads = re.findall(rf"process_vm_readv\({target.pid}, .*", calls)
    assert reads and all("EFAULT" in read for read in reads), reads
    assert_untouched(target.pid)
