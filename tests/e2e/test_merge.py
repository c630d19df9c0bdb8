"""report A B: one profile of several, held against what go tool pprof makes of the same files."""

import os
import re
import subprocess

import pprof
import pytest
from conftest import TOOL
from sampled_profile import Frame, Sample, write

CPU = [("samples", "count"), ("cpu", "nanoseconds")]
MAIN, WORK = Frame("main", "/a.c", 10, 8, "/bin/a", 0x1010), Frame("work", "/a.c", 20, 18, "/bin/a", 0x1020)


def merge(folder, *paths, options=()):
    out = os.path.join(folder, "merged.pb.gz")
    done = subprocess.run([TOOL, "report", *paths, "-o", out, *options], capture_output=True, text=True, timeout=60)
    return done, out


def flat(profile):
    """What each stack has, by its functions and labels."""
    sums = {}
    for sample in profile.samples:
        key = (tuple(sample.functions), tuple(sorted(sample.labels.items())), tuple(sorted(sample.numbers.items())))
        count, ns = sums.get(key, (0, 0))
        sums[key] = (count + sample.count, ns + sample.ns)
    return sums


def test_two_processes_of_one_program(start, tool, folder):
    """As go tool pprof merges them: what both have is there once, though each has it elsewhere in its memory."""
    paths = [tool.record(start("pie").pid, duration="500ms", output=f"{i}.pb.gz").path for i in range(2)]
    done, out = merge(folder, *paths)
    assert done.returncode == 0, done.stderr
    ours = pprof.load(out)
    assert flat(ours).keys() == {key for path in paths for key in flat(pprof.load(path))}
    assert ours.total_ns == sum(pprof.load(path).total_ns for path in paths)
    theirs = os.path.join(folder, "theirs.pb.gz")
    with open(theirs, "wb") as file:
        subprocess.run([pprof.go_command(), "tool", "pprof", "-symbolize=none", "-proto", *paths], stdout=file, stderr=subprocess.DEVNULL, check=True)
    expected = pprof.load(theirs)
    assert flat(ours) == flat(expected)
    assert ours.time_s == expected.time_s and ours.duration_s == pytest.approx(expected.duration_s)
    assert [(m.file, m.build_id, m.offset, m.limit - m.start) for m in ours.mappings] == \
        [(m.file, m.build_id, m.offset, m.limit - m.start) for m in expected.mappings]
    names = [sorted(line.function for place in pprof.locations(pprof.run(path, "-raw")) for line in place.lines) for path in (out, theirs)]
    assert names[0] == names[1] and os.path.basename(ours.mappings[0].file) == "pie"


def test_labels_and_kinds(folder):
    one = write(os.path.join(folder, "1.pb.gz"), CPU, [Sample((MAIN, WORK), (1, 10), (("pid", 1), ("thread", "a"))), Sample((MAIN,), (1, 5))],
                comments=("one", "both"), time_ns=10**18, duration_ns=10**9)
    two = write(os.path.join(folder, "2.pb.gz"), CPU, [Sample((MAIN, WORK), (2, 20), (("thread", "a"), ("pid", 1))),
                                                       Sample((MAIN, WORK), (4, 40), (("pid", 2),)), Sample((WORK,), (0, 0))],
                comments=("both", "two"), time_ns=10**18, duration_ns=10**9)
    done, out = merge(folder, one, two)
    assert done.returncode == 0, done.stderr
    profile = pprof.load(out)
    assert sorted((sample.count, sample.ns, tuple(sample.numbers.values())) for sample in profile.samples) == [(1, 5, ()), (3, 30, (1,)), (4, 40, (2,))]
    assert profile.comments == ["one", "both", "two"] and profile.duration_s == 2


def test_other_kinds_are_refused(folder):
    one = write(os.path.join(folder, "1.pb.gz"), CPU, [Sample((MAIN,), (1, 10))])
    two = write(os.path.join(folder, "2.pb.gz"), [("samples", "count"), ("wall", "nanoseconds")], [Sample((MAIN,), (1, 10))])
    done, out = merge(folder, one, two)
    assert done.returncode == 2 and f"{two} counts wall, and {one} cpu" in done.stderr and done.stderr.count("\n") == 1
    assert not os.path.exists(out)


def test_every_format_and_a_comparison(folder):
    one = write(os.path.join(folder, "1.pb.gz"), CPU, [Sample((MAIN, WORK), (1, 10_000_000))])
    two = write(os.path.join(folder, "2.pb.gz"), CPU, [Sample((MAIN,), (1, 30_000_000))])
    folded = subprocess.run([TOOL, "report", one, two, "-f", "folded"], capture_output=True, text=True, check=True).stdout
    assert sorted(re.findall(r"^(main\S*) (\d+)$", folded, re.M)) == [("main", "30000000"), ("main;work", "10000000")]
    diff = subprocess.run([TOOL, "report", "--diff", one, one, two], capture_output=True, text=True)
    assert diff.returncode == 0 and "main" in diff.stdout
