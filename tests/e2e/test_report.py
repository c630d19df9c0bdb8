"""`cprof-attach report`: what it says of a profile is what `go tool pprof` says, of our profiles and of Go's own."""

import functools
import gzip
import json
import os
import pty
import re
import subprocess
from collections import Counter

import jsonschema
import pprof
import pytest
from conftest import SOURCES, TARGETS, TOOL, Target, Tool
from sampled_profile import Frame, Sample, write

HERE = os.path.dirname(os.path.abspath(__file__))
CPU = [("samples", "count"), ("cpu", "nanoseconds")]
ALL = ("-nodecount=0", "-nodefraction=0", "-edgefraction=0")
UNITS = {"nanoseconds": "ns", "bytes": "B", "count": "count"}
SIZES = {"": 1, "ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30}
SECONDS = 1


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    """{name: path}: recorded once for all tests."""
    folder = str(tmp_path_factory.mktemp("profiles"))
    paths = {name: os.path.join(folder, name + ".pb.gz") for name in ("cpu", "state", "recursion", "go_cpu", "go_heap")}
    tool = Tool(folder)
    for name, program, event in (("cpu", "cpp_inline", "cpu"), ("state", "blocked", "state"), ("recursion", "recurse", "cpu")):
        target = Target([os.path.join(TARGETS, program), *(["50"] if program == "recurse" else [])])
        target.await_line("ready")
        tool.record(target.pid, "-r", 199, "-e", event, duration=f"{SECONDS}s", output=paths[name])
        target.close()
    subprocess.run([os.path.join(TARGETS, "go_profiles"), paths["go_cpu"], paths["go_heap"]], check=True)
    return paths


def unit_of(path):
    return "B" if "heap" in path else "ns"


def report(tool, path, *options, code=0):
    """What it prints."""
    done = tool.run("report", path, *options)
    assert done.code == code, done.stderr
    return done.stdout.decode()


# ---- reading the text ----


def value(text):
    """The number, and by how much it may be rounded."""
    match = re.fullmatch(r"(-?\d+(\.\d\d)?)([a-zA-Z]*)", text)
    assert match, text
    size = SIZES[match[3]]
    return float(match[1]) * size, 0.005 * size if match[2] else 0


def assert_is(text, exact):
    number, rounding = value(text)
    assert abs(number - exact) <= rounding * 1.001, (text, exact)


ROW = re.compile(r"^ *(-?[\d.]+[a-zA-Z]*) +(-?[\d.]+)% +(-?[\d.]+)% +(-?[\d.]+[a-zA-Z]*) +(-?[\d.]+)%(?:  |                    \| )(\S.*)$")


def table(text):
    """{function: (flat, cum)} as they stand there."""
    rows = [ROW.match(line) for line in text.split("\n\n", 1)[1].splitlines()]
    return {row[6]: (row[1], row[4]) for row in rows if row}


@functools.cache
def by_pprof(path, *options):
    """{function: (flat, cum)}, exact."""
    text = pprof.run(path, "-top", f"-unit={unit_of(path)}", *ALL, *options)
    rows = re.findall(r"^ *(-?\d+)[a-zA-Z]* +[-\d.]+% +[-\d.]+% +(-?\d+)[a-zA-Z]* +[-\d.]+%  (.*?)(?: \((?:partial-)?inline\))?$", text, re.M)
    return {name: (int(flat), int(cum)) for flat, cum, name in rows if (int(flat), int(cum)) != (0, 0)}


def assert_same_table(text, expected):
    rows = table(text)
    assert expected and set(rows) == set(expected)
    for name, (flat, cum) in expected.items():
        assert_is(rows[name][0], flat)
        assert_is(rows[name][1], cum)


# ---- text ----


@pytest.mark.parametrize("name", ["cpu", "state", "recursion", "go_cpu", "go_heap"])
def test_flat_and_cum_as_pprof(tool, profiles, name):
    path = profiles[name]
    assert_same_table(report(tool, path, "--top", 0), by_pprof(path))


@pytest.mark.parametrize("name, kind", [("go_heap", "alloc_objects"), ("go_heap", "inuse_objects"), ("cpu", "samples")])
def test_other_kinds(tool, profiles, name, kind):
    text = pprof.run(profiles[name], "-top", f"-sample_index={kind}", *ALL)
    rows = re.findall(r"^ *(\d+) +[\d.]+% +[\d.]+% +(\d+) +[\d.]+%  (.*?)(?: \((?:partial-)?inline\))?$", text, re.M)
    expected = {function: (int(flat), int(cum)) for flat, cum, function in rows if int(cum)}
    assert_same_table(report(tool, profiles[name], "--top", 0, "--type", kind), expected)


@pytest.mark.parametrize("name, options, theirs", [
    ("cpu", ("--focus", "blend"), ("-focus=blend",)),
    ("cpu", ("--ignore", "blend|cpu between"), ("-ignore=blend|cpu between",)),
    ("cpu", ("--focus", "cpp_inline[.]cc$"), ("-focus=cpp_inline[.]cc$",)),
    ("cpu", ("--focus", "libc[.]so"), ("-focus=libc[.]so",)),
    ("state", ("--focus", "thread_main", "--ignore", "epoll|futex"), ("-focus=thread_main", "-ignore=epoll|futex")),
    ("state", ("--thread", "in_poll"), ("-tagfocus=thread=^in_poll$",)),
    ("go_heap", ("--focus", "main[.]grow"), ("-focus=main[.]grow",)),
    ("go_cpu", ("--state", "running"), ("-tagfocus=state=^running$",)),
])
def test_filters_as_pprof(tool, profiles, name, options, theirs):
    assert_same_table(report(tool, profiles[name], "--top", 0, *options), by_pprof(profiles[name], *theirs))


def test_one_thread(tool, profiles):
    tids = {sample.numbers["tid"] for sample in pprof.load(profiles["state"]).samples}
    assert len(tids) > 3
    for tid in sorted(tids)[:3]:
        expected = by_pprof(profiles["state"], f"-tagfocus=tid={tid}:{tid}")
        assert_same_table(report(tool, profiles["state"], "--top", 0, "--tid", tid), expected)


def test_the_rows_that_were_asked_for(tool, profiles):
    path = profiles["go_heap"]
    whole = by_pprof(path)
    for options, key in (((), 0), (("--cum",), 1)):
        text = report(tool, path, "--top", 5, *options)
        sums = [value(row[key])[0] for row in table(text).values()]
        assert len(sums) == 5 and sums == sorted(sums, reverse=True)
        assert_is(list(table(text).values())[0][key], max(row[key] for row in whole.values()))
        assert text.endswith(f"\n{len(whole) - 5} more functions; --top 0 shows all\n")


def test_the_head_says_what_it_is(tool, profiles):
    text = report(tool, profiles["cpu"])
    profile = pprof.load(profiles["cpu"])
    head = text.split("\n\n")[0].splitlines()
    assert head[0] == profiles["cpu"] and head[1].startswith("started   20")
    total = re.match(rf"total     (\S+) of cpu in {profile.duration_s:.2f} s", head[2])
    assert_is(total[1], profile.total_ns)
    assert head[3:] == [comment for comment in profile.comments if not comment.startswith("#")]


# ---- callers and callees ----


def edges(text, number):
    """{function: (callers, callees)}, each {function: number}, in the order of the text."""
    found = {}
    for block in re.split(r"^-+\+-+ *$", text, flags=re.M)[1:]:
        callers, callees, current = {}, {}, None
        for line in block.splitlines():
            row = re.match(r"^(.*?) *\| +(.*?)(?: \((?:partial-)?inline\))?$", line)
            words = row[1].split() if row else []
            if len(words) == 5:
                current = row[2]
            elif len(words) == 2:
                (callers if current is None else callees)[row[2]] = number(words[0])
        if current:
            found[current] = (callers, callees)
    return found


@pytest.mark.parametrize("name", ["cpu", "state", "recursion", "go_heap"])
def test_callers_and_callees_as_pprof(tool, profiles, name):
    path = profiles[name]
    theirs = edges(pprof.run(path, "-peek=.", f"-unit={unit_of(path)}", *ALL), lambda text: int(re.match(r"-?\d+", text)[0]))
    used = by_pprof(path)
    theirs = {function: sides for function, sides in theirs.items() if function in used}
    ours = edges(report(tool, path, "--tree", "--top", 0), str)
    assert theirs and set(ours) == set(theirs)
    for function, sides in theirs.items():
        for mine, expected in zip(ours[function], sides):
            assert len(mine) == min(8, len(expected)), (function, mine, expected)
            for other, text in mine.items():
                assert_is(text, expected[other])
            # Of more than are shown, the largest.
            assert sorted((expected[other] for other in mine), reverse=True) == sorted(expected.values(), reverse=True)[:8]


# ---- source ----


def listed(text, head, line, number):
    """{(function, file): {line: (flat, cum, source)}} of the lines that have samples."""
    found, current = {}, None
    for row in text.splitlines():
        start = re.match(head, row)
        match = re.match(line, row)
        if start:
            current = found.setdefault((start[1], start[2]), {})
        elif match and current is not None and (match[1], match[2]) != (".", "."):
            current[int(match[3])] = (number(match[1]), number(match[2]), match[4].rstrip())
    return found


@pytest.mark.parametrize("name, pattern", [("cpu", "geo::|main"), ("recursion", "descend|main"), ("go_heap", "^main[.]")])
def test_lines_as_pprof(tool, profiles, name, pattern):
    path = profiles[name]
    theirs = listed(pprof.run(path, f"-list={pattern}", f"-unit={unit_of(path)}"), r"ROUTINE =+ (.*) in (/.*)",
                    r" *(\S+) +(\S+) +(\d+):(.*)", lambda text: 0 if text == "." else int(re.match(r"\d+", text)[0]))
    text = report(tool, path, "--list", pattern)
    ours = listed(text, r"(.*) in (/.*)", r" *(\S+) +(\S+) +(\d+)  (.*)", lambda text: "0" if text == "." else text)
    assert theirs and set(ours) == set(theirs)
    for place, lines in theirs.items():
        assert set(ours[place]) == set(lines), place
        for line, (flat, cum, source) in lines.items():
            assert_is(ours[place][line][0], flat)
            assert_is(ours[place][line][1], cum)
            assert ours[place][line][2].replace("\t", " ").split() == source.replace("\t", " ").split()


def test_source_that_is_not_here(tool, folder):
    path = write(os.path.join(folder, "p.pb.gz"), CPU, [Sample((Frame("f", "/absent/f.c", 7), Frame("g", "", 0)), (1, 10**6))])
    text = report(tool, path, "--list", ".")
    assert "f in /absent/f.c (cannot be read here: the lines' numbers only)\n" in text
    assert re.search(r"^ +\. +1\.00ms +7 +$", text, re.M) and "g in an unknown file\n" in text
    # Nor is anything read that is no file.
    for place in ("/dev/zero", "/proc", "relative.c", "/etc/../dev/tty"):
        write(path, CPU, [Sample((Frame("f", place, 1),), (1, 10**6))])
        assert "cannot be read here" in report(tool, path, "--list", "f")


# ---- other formats ----


def stacks_of(profile):
    """{(thread, stack from the root): ns} by go tool pprof."""
    stacks = Counter()
    for sample in profile.samples:
        names = [line.function for place in sample.stack for line in place.lines or [pprof.Line("", "", 0, 0)]]
        stacks[(sample.labels.get("thread", ""), *reversed(names))] += sample.ns
    return stacks


@pytest.mark.parametrize("name", ["cpu", "state", "recursion"])
def test_folded_stacks(tool, profiles, name):
    text = report(tool, profiles[name], "-f", "folded")
    # The grammar of flamegraph.pl: what it ignores would be missing from its picture.
    rows = [re.fullmatch(r"(.+?) (\d+)", line) for line in text.splitlines()]
    assert all(rows) and len({row[1] for row in rows}) == len(rows)
    found = {tuple(row[1].split(";")): int(row[2]) for row in rows}
    profile = pprof.load(profiles[name])
    named = {stack: ns for stack, ns in stacks_of(profile).items() if all(stack) and ns > 0}
    assert named and all(found[stack] == ns for stack, ns in named.items())
    assert sum(found.values()) == profile.total_ns


@pytest.mark.parametrize("name", ["cpu", "state", "go_cpu", "go_heap"])
def test_speedscope(tool, profiles, name):
    found = json.loads(report(tool, profiles[name], "-f", "speedscope"))
    with open(os.path.join(HERE, "data", "speedscope-schema.json")) as file:
        jsonschema.Draft7Validator(json.load(file)).validate(found)
    whole, *threads = found["profiles"]
    total = sum(flat for flat, _ in by_pprof(profiles[name]).values())
    assert sum(whole["weights"]) == whole["endValue"] == total
    assert whole["unit"] == {"ns": "nanoseconds", "B": "bytes"}[unit_of(profiles[name])]
    for profile in found["profiles"]:
        assert len(profile["samples"]) == len(profile["weights"]) and sum(profile["weights"]) == profile["endValue"]
        assert all(0 <= frame < len(found["shared"]["frames"]) for stack in profile["samples"] for frame in stack)
    if name == "state":
        assert {thread["name"] for thread in threads} == {sample.labels["thread"] for sample in pprof.load(profiles[name]).samples}
        assert sum(thread["endValue"] for thread in threads) == total
    else:
        assert threads == []


JSON_SCHEMA = {  # as docs/formats.md says
    "type": "object", "additionalProperties": False,
    "required": ["format", "name", "time_ns", "duration_ns", "types", "default_type", "comments", "frames", "samples"],
    "properties": {
        "format": {"const": "cprof-attach profile 1"},
        "name": {"type": "string"}, "time_ns": {"type": "integer"}, "duration_ns": {"type": "integer"},
        "types": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["type", "unit"], "additionalProperties": False,
                                                            "properties": {"type": {"type": "string"}, "unit": {"type": "string"}}}},
        "default_type": {"type": "integer", "minimum": 0},
        "comments": {"type": "array", "items": {"type": "string"}},
        "frames": {"type": "array", "items": {
            "type": "object", "required": ["function"], "additionalProperties": False,
            "properties": {"function": {"type": "string", "minLength": 1}, "system_name": {"type": "string"}, "file": {"type": "string"},
                           "line": {"type": "integer", "minimum": 1}, "start_line": {"type": "integer", "minimum": 1},
                           "module": {"type": "string"}, "address": {"type": "string", "pattern": "^0x[0-9a-f]+$"},
                           "inlined": {"const": True}, "named": {"const": False}}}},
        "samples": {"type": "array", "items": {
            "type": "object", "required": ["stack", "values"], "additionalProperties": False,
            "properties": {"stack": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                           "values": {"type": "array", "items": {"type": "integer"}},
                           "labels": {"type": "object", "minProperties": 1, "additionalProperties": {"type": ["string", "integer"]}}}}},
    },
}


@pytest.mark.parametrize("name", ["cpu", "state", "recursion", "go_cpu", "go_heap"])
def test_json(tool, profiles, name):
    text = report(tool, profiles[name], "-f", "json")
    found = json.loads(text)
    jsonschema.Draft7Validator(JSON_SCHEMA).validate(found)
    # Flat and cumulative sums made from it are exactly those of pprof.
    flat, cum, kind = Counter(), Counter(), found["default_type"]
    for sample in found["samples"]:
        stack = [found["frames"][frame]["function"] for frame in sample["stack"]]
        assert len(sample["values"]) == len(found["types"])
        for function in set(stack):
            cum[function] += sample["values"][kind]
        flat[stack[-1]] += sample["values"][kind]
    assert {function: (flat[function], cum[function]) for function in cum if cum[function]} == by_pprof(profiles[name])
    if not name.startswith("go"):
        profile = pprof.load(profiles[name])
        assert sorted((sample.count, sample.ns, sorted({**sample.labels, **sample.numbers}.items())) for sample in profile.samples) == \
            sorted((*sample["values"], sorted(sample["labels"].items())) for sample in found["samples"])
        assert found["comments"] == profile.comments


def test_pprof_again(tool, profiles, folder):
    """-f pprof: compressed, and the same."""
    path, again = os.path.join(folder, "plain.pb"), os.path.join(folder, "again.pb.gz")
    with gzip.open(profiles["go_heap"]) as source, open(path, "wb") as file:
        file.write(source.read())
    report(tool, path, "-o", again)
    with open(again, "rb") as file:
        assert file.read(2) == b"\x1f\x8b"
    assert pprof.run(again, "-raw") == pprof.run(path, "-raw")


@pytest.mark.parametrize("end, head", [(".html", b"<!DOCTYPE html>"), (".folded", b"cpp_inline;"), (".speedscope.json", b'{"$schema":'),
                                       (".json", b'{"format":'), (".pb.gz", b"\x1f\x8b"), (".txt", b"/"), ("", b"/")])
def test_the_name_says_the_format(tool, profiles, folder, end, head):
    path = os.path.join(folder, "x" + end)
    done = tool.run("report", profiles["cpu"], "-o", path)
    assert done.code == 0 and done.stdout == b"" and done.lines[-1] == path
    with open(path, "rb") as file:
        assert file.read(len(head)).lower() == head.lower()
    assert os.listdir(folder) == [os.path.basename(path)]


# ---- what changed ----


def test_diff(tool, folder):
    """By hand: of 10 s and of 5 s; f went from 4 s to 1 s, g stayed at 2 s, h is new, i is gone."""
    second = 10**9
    before = write(os.path.join(folder, "before.pb.gz"), CPU, [Sample(("main", "f"), (4, 4 * second)), Sample(("main", "g"), (2, 2 * second)),
                                                               Sample(("main", "i"), (1, second // 2))], duration_ns=10 * second)
    after = write(os.path.join(folder, "after.pb.gz"), CPU, [Sample(("main", "f"), (1, second)), Sample(("main", "g"), (2, 2 * second)),
                                                             Sample(("main", "h"), (1, second // 20))], duration_ns=5 * second)
    text = report(tool, after, "--diff", before)
    rows = [line.split() for line in text.split("\n\n")[1].splitlines()[1:]]
    assert rows == [
        # own: change, before, now; with callees: the same
        ["-20.00%", "40.00%", "20.00%", "-20.00%", "40.00%", "20.00%", "f"],
        ["+20.00%", "20.00%", "40.00%", "+20.00%", "20.00%", "40.00%", "g"],
        ["-5.00%", "5.00%", "0.00%", "-5.00%", "5.00%", "0.00%", "i"],
        ["+1.00%", "0.00%", "1.00%", "+1.00%", "0.00%", "1.00%", "h"],
        ["+0.00%", "0.00%", "0.00%", "-4.00%", "65.00%", "61.00%", "main"],
    ]
    # Counts have no length: shares of the whole.
    text = report(tool, after, "--diff", before, "--type", "samples", "--top", 1)
    rows = [line.split() for line in text.split("\n\n")[1].splitlines()[1:]]
    assert rows[0] == ["-32.14%", "57.14%", "25.00%", "-32.14%", "57.14%", "25.00%", "f"]
    assert rows[1] == "4 more functions; --top 0 shows all".split()


def test_diff_of_two_kinds(tool, profiles):
    done = tool.run("report", "--diff", profiles["go_heap"], profiles["cpu"])
    assert done.code == 2 and len(done.lines) == 1 and "--type" in done.lines[0]


# ---- what is refused ----


def test_files_that_are_no_profile(tool, profiles, folder):
    with open(profiles["cpu"], "rb") as file:
        whole = file.read()
    for name, content in (("text", b"hello"), ("empty", b""), ("cut", whole[:len(whole) // 2]), ("gzip", gzip.compress(b"hello" * 1000)),
                          ("changed", gzip.compress(gzip.decompress(whole)[:-100] + b"\xff" * 100))):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        done = tool.run("report", path)
        assert done.code == 2 and done.stdout == b"" and len(done.lines) == 1 and path in done.lines[0], (name, done.stderr)
    for path in (os.path.join(folder, "absent"), folder):
        done = tool.run("report", path)
        assert done.code == 2 and len(done.lines) == 1 and path in done.lines[0]


def test_what_cannot_be_done_is_said(tool, profiles, folder):
    path = profiles["cpu"]
    for code, options, word in ((64, (), "which profile"), (64, (path, "--nonsense"), "--nonsense"),
                                (64, (path, "-f", "svg"), "'svg'"), (64, (path, "--top", "x"), "'x'"), (64, (path, "--tid", "-1"), "'-1'"),
                                (64, (path, "--focus", "a("), "'a('"), (64, (path, "--ignore", "["), "'['"), (64, (path, "--list", "*("), "'*('"),
                                (64, (path, "-f", "json", "--tree"), "--tree"), (64, (path, "--diff", path, "--list", "x"), "--diff"),
                                (64, (path, "--diff", path, "-f", "folded"), "--diff"), (64, (path, "-f", "pprof", "--focus", "x"), "whole"),
                                (64, (path, "-o", ""), "empty"), (64, (path, "--top"), "--top"),
                                (2, (path, "--type", "allocations"), "samples, cpu"), (2, (path, "--list", "no such function"), "no function"),
                                (2, (path, "-o", os.path.join(folder, "absent", "x.txt")), "absent")):
        done = tool.run("report", *options)
        assert (done.code, done.stdout, len(done.lines)) == (code, b"", 1) and word in done.lines[0], (options, done.stderr)
    assert os.listdir(folder) == []
    assert b"report PROFILE" in tool.run("report", "--help").stdout


def test_nothing_left_to_show(tool, profiles):
    for options in (("--focus", "no such function"), ("--tid", 1), ("--state", "disk"), ("--thread", "nobody", "-f", "json")):
        done = tool.run("report", profiles["cpu"], *options)
        assert done.code == 1 and done.stdout and "no sample was left" in done.lines[0], options


def test_a_full_disk(tool, profiles):
    for kind in ("text", "folded", "json", "speedscope", "flamegraph", "pprof"):
        done = tool.run("report", profiles["cpu"], "-f", kind, "-o", "/dev/full")
        assert done.code == 2 and "No space left" in done.lines[0], kind


def on_a_terminal(*options):
    """The exit code and what a terminal shows."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(TOOL, [TOOL, "report", *options])
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            part = b""
        if not part:
            break
        shown += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_pages_are_not_for_terminals(profiles):
    for kind in ("flamegraph", "pprof"):
        code, shown = on_a_terminal(profiles["cpu"], "-f", kind)
        assert code == 2 and "-o" in shown and len(shown) < 200, shown
    code, shown = on_a_terminal(profiles["cpu"])
    assert code == 0 and "geo::Solver::step()" in shown


# ---- profiles made to harm ----

HOSTILE = "</script><img src=x onerror=alert(1)>\033]0;title\a\033[2J;\n\"\\\u009b2J"


def test_names_made_to_harm(tool, folder):
    frames = (Frame(HOSTILE, HOSTILE, 1, module=HOSTILE), Frame(b"\xff\xfe", inlined=(Frame(HOSTILE),)))
    path = write(os.path.join(folder, "p.pb.gz"), [(HOSTILE, HOSTILE), ("cpu", "nanoseconds")], [Sample(frames, (1, 2), (("thread", HOSTILE), (HOSTILE, HOSTILE)))],
                 comments=(HOSTILE,))
    for options in ((), ("--tree",), ("--list", "."), ("--diff", path), ("-f", "folded"), ("--type", HOSTILE)):
        text = report(tool, path, *options)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), options
    (line,) = report(tool, path, "-f", "folded").splitlines()
    assert re.fullmatch(r"[^;]+;[^;]+;[^;]+;[^;]+ 2", line)
    for kind in ("json", "speedscope"):
        frames = json.loads(report(tool, path, "-f", kind))
        frames = frames["frames"] if kind == "json" else frames["shared"]["frames"]
        assert HOSTILE in [frame.get("function", frame.get("name")) for frame in frames]
    page = report(tool, path, "-f", "flamegraph")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert HOSTILE in json.loads(data)["texts"] and "<img" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f]", tool.run("report", path, "--type", "none").stderr)


def test_sizes_made_to_harm(tool, folder):
    """A name of 1 MB in a stack of 60,000 frames is 60 GB of folded text."""
    frame = Frame("n" * 2**20)
    path = write(os.path.join(folder, "p.pb.gz"), CPU, [Sample((frame,) * 60000, (1, 1))])
    assert len(report(tool, path, "--tree")) < 2**20 * 20
    done = tool.run("report", path, "-f", "folded")
    assert done.code == 2 and done.stdout == b"" and len(done.lines) == 1 and "too large to be folded" in done.lines[0]
    values = (1,) * 4000
    path = write(path, [("a", "b")] * 4000, [Sample(("f",), values[:1])] * 20000)
    done = tool.run("report", path)
    assert done.code == 2 and len(done.lines) == 1 and "too large" in done.lines[0]


def test_a_stack_deeper_than_any_reader_shows(tool, folder):
    path = write(os.path.join(folder, "p.pb.gz"), CPU, [Sample(("root",) + ("f",) * 70000 + ("leaf",), (1, 1))])
    rows = table(report(tool, path))
    assert rows["leaf"] == ("1ns", "1ns") and "root" not in rows and any(name.startswith("[truncated: ") for name in rows)
