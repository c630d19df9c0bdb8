"""Complete stacks, with the right functions in the right order, on every kind of program."""

import os

import pprof
import pytest
from conftest import TOOL, wait_for, burn_until

CHAIN = ["inner", "middle", "outer", "main"]


def assert_complete(run, profile, share=0.99):
    """By the tool's own word, and by the file."""
    assert run.complete >= share, run.stderr
    assert profile.complete() >= share, profile.chains()
    assert profile.complete() == pytest.approx(run.complete, abs=0.002), "the summary and the file agree"


def ends_at_first_frame(sample):
    """In a thread's first frame: _start for main's thread; else what called the program's outermost function is libc's
    start_thread and its clone3 (which have names only where libc's symbols are installed)."""
    if sample.root.function == "_start":
        return True
    libc = [place for place in sample.stack if place.mapping and "libc" in os.path.basename(place.mapping.file)]
    return sample.stack[-2:] == libc[-2:] and sample.stack[-3] not in libc


@pytest.mark.parametrize("name", ["c_o0", "c_omit_fp", "pie", "no_pie", "static"])
def test_chain_of_a_c_program(start, tool, name):
    target = start(name)
    run = tool.record(target.pid, "-r", 199)
    profile = run.load()
    assert_complete(run, profile)
    for sample in profile.stacks:
        if not sample.truncated:
            assert sample.root.function == "_start", sample.functions
    # Whatever else there is (the instants of a call or return are right too), the sum is the program's real chain.
    assert profile.share(lambda sample: sample.functions[:4] == CHAIN) >= 0.97, profile.chains()
    assert any(stack[:4] == CHAIN for stack in pprof.traces(run.path))
    assert pprof.top(run.path)["main"].cum_percent >= 97


def test_stripped_program_has_complete_stacks_of_the_same_depth(start, tool):
    depths = {}
    for name in ("stripped.full", "stripped"):
        run = tool.record(start(name).pid, "-r", 199, output=f"{name}.pb.gz")
        profile = run.load()
        assert_complete(run, profile)
        depths[name] = max(profile.stacks, key=lambda sample: sample.ns)
    assert len(depths["stripped"].stack) == len(depths["stripped.full"].stack)
    assert depths["stripped.full"].functions[:4] == CHAIN


def test_cpp_stacks_are_complete(start, tool):
    run = tool.record(start("cpp_inline").pid, "-r", 199)
    assert_complete(run, run.load())


def test_recursion_of_5000_frames(start, tool):
    target = start("recurse")
    run = tool.record(target.pid)
    profile = run.load()
    assert_complete(run, profile)
    for sample in profile.stacks:
        if not sample.truncated:
            assert sample.functions.count("descend") == 5000
            assert sample.functions[5001] == "main" and sample.root.function == "_start"
    deepest = max(pprof.traces(run.path), key=len)
    assert deepest[:2] == ["bottom", "descend"] and deepest.count("descend") == 5000 and deepest[-1] == "_start"


def test_recursion_beyond_the_copy_keeps_both_ends_and_says_so(start, tool):
    # 60,000 frames of at least 16 bytes: far more stack than is copied (1 MB), and more frames than are kept.
    target = start("recurse", 60000)
    profile = tool.record(target.pid, duration="1s").load()
    for sample in profile.stacks:
        assert sample.functions[0] in ("bottom", "") and sample.functions[1] == "descend"
        whole = sample.functions.count("descend") == 60000 and sample.root.function == "_start"
        marked = sample.truncated or any(place.made_up for place in sample.stack)
        assert whole or marked, f"{len(sample.stack)} frames, and no mark that more are missing"


def test_handler_on_an_alternate_stack(start, tool):
    target = start("altstack")
    run = tool.record(target.pid, "-r", 199, duration="3s")
    profile = run.load()
    assert_complete(run, profile)
    in_handler = [sample for sample in profile.stacks if "on_alarm" in sample.functions]
    share = profile.share(lambda sample: sample in in_handler, profile.stacks)
    assert share == pytest.approx(0.5, abs=0.1), "the handler runs for 10 of every 20 ms"
    whole = [sample for sample in in_handler if not sample.truncated]
    assert profile.share(lambda sample: sample in whole, in_handler) >= 0.99
    for sample in whole:
        i = sample.functions.index("on_alarm")
        # Above the handler lies exactly one frame, the return by rt_sigreturn, then the interrupted function and main.
        handler = next(k for k, place in enumerate(sample.stack) if any(line.function == "on_alarm" for line in place.lines))
        assert "libc" in sample.stack[handler + 1].mapping.file, sample.functions
        assert sample.functions[i + 2:i + 4] == ["interrupted", "main"], sample.functions
        assert sample.root.function == "_start"


def test_threads_end_at_their_first_frame(start, tool):
    run = tool.record(start("threads64").pid, "-r", 199)
    profile = run.load()
    assert_complete(run, profile)
    for sample in profile.stacks:
        if not sample.truncated:
            assert ends_at_first_frame(sample), sample.functions


def test_leader_has_exited(start, tool):
    target = start("leader_exit")
    run = tool.record(target.pid, "-r", 199)
    profile = run.load()
    assert_complete(run, profile)
    assert profile.share_under("survivor") >= 0.95, profile.chains()
    assert all(sample.numbers["tid"] != target.pid for sample in profile.stacks), "the dead leader uses no CPU"


def test_exec_during_the_run(start, tool):
    # The maps go stale at the exec; both programs' stacks must be right, and the run goes on.
    target = start("execer")
    path = os.path.join(tool.folder, "out.pb.gz")
    process = tool.start_and_attach(target.pid, "-d", "4s", "-r", "199", "-o", path)
    burn_until(target.pid, 500_000_000)
    os.kill(target.pid, 10)  # SIGUSR1
    target.await_line("again")
    run = tool.finish(process, path)
    assert run.code in (0, 1), run.stderr
    profile = run.load()
    assert_complete(run, profile)
    for function in ("before_exec", "after_exec"):
        assert profile.share_under(function) > 0.05, profile.chains()
    wait_for(lambda: os.path.exists(f"/proc/{target.pid}"), "the target lives", 1)


def test_max_depth_keeps_both_ends(start, tool):
    target = start("recurse")
    profile = tool.record(target.pid, "--max-depth", 20).load()
    for sample in profile.stacks:
        gaps = [place.function for place in sample.stack if "frames left out" in place.function]
        assert len(gaps) == 1, sample.functions
        assert len(sample.stack) == 21
        assert sample.functions[0] == "bottom" and sample.root.function == "_start"
        missing = int(gaps[0].strip("[").split()[0].replace(",", ""))
        assert missing + sample.functions.count("descend") == 5000


# Where a Go stack may end: a goroutine's first frame, or, on a thread's own stack, what was called to leave a goroutine, or the
# thread's first frame.
GO_ROOTS = {"runtime.clone", "runtime.goexit", "runtime.mcall", "runtime.morestack", "runtime.mstart", "runtime.rt0_go"}


def plain(name):
    """nm's names say the calling convention."""
    return name.removesuffix(".abi0")


def chain(sample):
    return [plain(name) for name in sample.functions]


def test_go_program(start, tool, figure):
    run = tool.record(start("go_busy").pid, "-r", 199, duration="3s")
    profile = run.load()
    figure(f"{run.complete:.2%} of the Go stacks complete")
    assert_complete(run, profile, 0.99)
    assert profile.share(lambda sample: sample.functions[0] == "main.burn") > 0.5, profile.chains()
    known = ["main.burn", "main.compute", "main.main", "runtime.main", "runtime.goexit"]
    found = [sample for sample in profile.stacks if chain(sample) == known]
    assert profile.share(lambda sample: sample in found) > 0.5, profile.chains()
    assert all(sample.stack[0].lines[-1].file.endswith("go_busy.go") for sample in found)
    for sample in profile.stacks:
        if not sample.truncated:
            assert chain(sample)[-1] in GO_ROOTS, chain(sample)


@pytest.mark.parametrize("name", ["go_stripped", "go_pie", "go_pie_stripped"])
def test_go_program_in_other_forms_has_the_same_stacks(start, tool, figure, name):
    stacks = {}
    for form in ("go_busy", name):
        run = tool.record(start(form).pid, "-r", 199, output=f"{form}.pb.gz")
        profile = run.load()
        assert_complete(run, profile, 0.99)
        hottest = max(profile.stacks, key=lambda sample: sample.ns)
        stacks[form] = [(line.function, line.file, line.start_line) for place in hottest.stack for line in place.lines]
    figure(f"{run.complete:.2%} of {name}'s stacks complete")
    # Stripped or not: the names are Go's own.
    assert stacks[name] == stacks["go_busy"]
    assert [function for function, _, _ in stacks[name]] == ["main.burn", "main.compute", "main.main", "runtime.main", "runtime.goexit"]


def test_go_on_the_threads_own_stacks(start, tool, figure):
    # The allocator and the collector work there (systemstack); the goroutine's callers belong to the stack all the same.
    run = tool.record(start("go_gc").pid, "-r", 499, duration="3s")
    profile = run.load()
    figure(f"{run.complete:.2%} of the stacks of a Go program that allocates complete")
    assert_complete(run, profile, 0.99)
    hops = 0
    for sample in profile.stacks:
        functions = chain(sample)
        if sample.truncated:
            continue
        assert functions[-1] in GO_ROOTS, functions
        if "main.build" in functions:
            assert functions[-1] == "runtime.goexit" and "main.churn" in functions, functions
            callers = functions[len(functions) - 1 - functions[::-1].index("main.build") + 1:]
            assert callers[0] == "main.churn", functions
            hops += "runtime.systemstack" in functions
    assert hops > 0, profile.chains()
    stripped = tool.record(start("go_gc_stripped").pid, "-r", 499, output="stripped.pb.gz")
    assert stripped.complete >= 0.99, stripped.stderr
    assert stripped.load().share_under("main.build") > 0.5


@pytest.mark.parametrize("name", ["go_cgo", "go_cgo_pie"])
def test_go_that_calls_c_that_calls_go(start, tool, figure, name):
    run = tool.record(start(name).pid, "-r", 499, duration="3s")
    profile = run.load()
    figure(f"{run.complete:.2%} of {name}'s stacks complete")
    assert_complete(run, profile, 0.99)
    end = ["main.main", "runtime.main", "runtime.goexit"]
    # By perf c_leaf has 36 % of the time, and main.burn 60 %.
    for leaf, between, shares in (
        ("c_leaf", ["c_middle", "runtime.asmcgocall", "runtime.cgocall", "main.viaC"], 0.25),
        ("main.burn", ["main.goBack", "runtime.cgocallback", "crosscall2", "c_calls_go", "runtime.asmcgocall", "main.viaBoth"], 0.4),
    ):
        found = [sample for sample in profile.stacks if sample.functions[0] == leaf and not sample.truncated]
        assert profile.share(lambda sample: sample in found) > shares, profile.chains()
        for sample in found:
            functions = chain(sample)
            assert functions[-3:] == end, functions
            places = [functions.index(name) for name in between]
            assert places == sorted(places), functions


def test_goroutines_that_sleep_in_c_and_are_never_stopped(start, tool):
    profile = tool.record(start("go_cgo_sleep").pid, "-e", "state", "-r", 49).load()
    asleep = [sample for sample in profile.stacks if "c_sleep" in sample.functions]
    assert len({sample.numbers["tid"] for sample in asleep}) == 4, profile.chains()
    for sample in asleep:
        assert not sample.truncated, sample.functions
        functions = chain(sample)
        assert functions[-3:] == ["main.sleeper", "main.main.func1", "runtime.goexit"], functions
        assert functions[functions.index("c_sleep") + 2:][:2] == ["runtime.asmcgocall", "runtime.cgocall"], functions


def test_summary_goes_into_the_file_too(start, tool):
    run = tool.record(start("c_o0").pid)
    printed = pprof.run(run.path, "-comments")
    assert "complete" in printed, "whoever gets only the file must see how good it is"
    assert os.path.basename(TOOL).split("-")[0] in printed
