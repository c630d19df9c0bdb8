"""`cprof-attach symbolize`: a profile of a stripped program gets its names elsewhere. Truth: llvm-symbolizer on the unstripped program."""

import gzip
import os
import re
import shutil
import subprocess

import pprof
import pytest
from conftest import TARGETS


def build_id(path):
    notes = subprocess.run(["readelf", "-nW", path], capture_output=True, text=True, check=True).stdout
    return re.search(r"Build ID: ([0-9a-f]+)", notes)[1]


def places_in(profile, name):
    """The locations in the mapping of this file, by address."""
    places = {place.address: place for sample in profile.samples for place in sample.stack if place.mapping}
    return {address: place for address, place in places.items() if os.path.basename(place.mapping.file) == name}


def link_address(place):
    """In a program whose one segment of code has the same offset and address."""
    return place.address - place.mapping.start + place.mapping.offset


def by_llvm(program, addresses):
    """{address: [(file, line), ...]}, innermost first."""
    words = [hex(address) for address in addresses]
    done = subprocess.run(["llvm-symbolizer", "--obj", program, "--no-demangle", *words], capture_output=True, text=True, check=True).stdout
    chains = [text.splitlines() for text in done.strip().split("\n\n")]
    assert len(chains) == len(words)
    return {address: [tuple(line.rsplit(":", 2)[:2]) for line in chain[1::2]] for address, chain in zip(addresses, chains)}


@pytest.fixture
def stripped(folder):
    """cpp_inline without symbols, as it would be at a customer's; the profile's own path is no help."""
    os.mkdir(os.path.join(folder, "customer"))
    path = os.path.join(folder, "customer", "service")
    subprocess.run(["strip", "-o", path, os.path.join(TARGETS, "cpp_inline")], check=True)
    return path


def at_home(folder, how):
    """A folder with the same program's debug information in one of the forms in which people keep it."""
    full, home = os.path.join(TARGETS, "cpp_inline"), os.path.join(folder, "home")
    name = build_id(full)
    places = {"beside": "service.debug", "program": "service", "build-id": f".build-id/{name[:2]}/{name[2:]}.debug",
              "tree": folder.lstrip("/") + "/customer/service.debug", "pprof": name + "/service"}
    path = os.path.join(home, places[how])
    os.makedirs(os.path.dirname(path))
    if how == "program":
        shutil.copy(full, path)
    else:
        subprocess.run(["objcopy", "--only-keep-debug", full, path], check=True)
    return home


@pytest.mark.parametrize("how", ["program", "beside", "build-id", "tree", "pprof"])
def test_same_names_as_of_the_unstripped_program(start, tool, folder, stripped, how):
    run = tool.record(start(stripped).pid, "-r", 199, duration="1s")
    before = run.load()
    assert not any("geo::" in name for sample in before.samples for name in sample.functions)
    named = os.path.join(folder, "named.pb.gz")
    done = tool.run("symbolize", run.path, "--debuginfo-path", at_home(folder, how), "-o", named)
    assert done.code == 0, done.stderr
    after = pprof.load(named)
    places = places_in(after, "service")
    wanted = by_llvm(os.path.join(TARGETS, "cpp_inline"), [link_address(place) for place in places.values()])
    compared = 0
    for place in places.values():
        chain = [(file, int(line)) for file, line in wanted[link_address(place)]]
        if chain[0][1] == 0:  # _start
            continue
        assert [(line.file, line.line) for line in place.lines] == chain
        compared += len(chain)
    assert compared >= 6
    unstripped = tool.record(start("cpp_inline").pid, "-r", 199, duration="1s", output="unstripped.pb.gz").load()
    here = {tuple(line.function for line in place.lines) for place in places.values()}
    there = {tuple(line.function for line in place.lines) for place in places_in(unstripped, "cpp_inline").values()}
    hot = {chain for chain in there if len(chain) == 3}
    assert hot and hot <= here | {chain for chain in there if len(chain) < 3}, (here, there)
    # The rest is as it was.
    assert [(sample.count, sample.ns, [place.address for place in sample.stack], sample.labels) for sample in after.samples] == \
        [(sample.count, sample.ns, [place.address for place in sample.stack], sample.labels) for sample in before.samples]
    assert after.mappings[0].flags == "[FN][FL][LN][IN]"
    libc = [place.function for place in places_in(before, "libc.so.6").values()]
    assert libc == [place.function for place in places_in(after, "libc.so.6").values()]


def test_names_stay_when_the_folder_knows_nothing_better(start, tool, folder):
    run = tool.record(start("cpp_inline").pid, "-r", 199, duration="1s")
    os.mkdir(os.path.join(folder, "empty"))
    done = tool.run("symbolize", run.path, "--debuginfo-path", os.path.join(folder, "empty"))
    assert done.code == 1 and "nothing to add" in done.stderr
    named = run.path.replace(".pb.gz", ".symbolized.pb.gz")
    before, after = run.load(), pprof.load(named)
    assert [sample.functions for sample in after.samples] == [sample.functions for sample in before.samples]
    # A file with fewer names than the profile has takes none away.
    os.mkdir(os.path.join(folder, "poor"))
    subprocess.run(["strip", "-g", "-o", os.path.join(folder, "poor", "cpp_inline"), os.path.join(TARGETS, "cpp_inline")], check=True)
    tool.run("symbolize", run.path, "--debuginfo-path", os.path.join(folder, "poor"), "-o", named)
    after = pprof.load(named)
    assert [sample.functions for sample in after.samples] == [sample.functions for sample in before.samples]


def test_a_file_of_another_build_is_not_taken(start, tool, folder, stripped):
    run = tool.record(start(stripped).pid, "-r", 199, duration="1s")
    os.mkdir(os.path.join(folder, "home"))
    shutil.copy(os.path.join(TARGETS, "stripped.full"), os.path.join(folder, "home", "service"))
    done = tool.run("symbolize", "-v", run.path, "--debuginfo-path", os.path.join(folder, "home"))
    assert done.code == 1, done.stderr
    assert build_id(stripped) in done.stderr


def test_a_profile_by_another_tool(tool, folder):
    """Not compressed, and of Go's own writer: no build-ids that are known here, so that it comes out as it went in."""
    source = os.path.join(folder, "main.go")
    with open(source, "w") as file:
        file.write('package main\nimport ("os"; "runtime/pprof")\nvar x int\nfunc main() { pprof.StartCPUProfile(os.Stdout)\n'
                   'for i := 0; i < 300000000; i++ { x += i * i }\npprof.StopCPUProfile() }\n')
    made = subprocess.run([pprof.go_command(), "run", source], capture_output=True, check=True,
                          env={"HOME": folder, "GOCACHE": os.path.expanduser("~/.cache/go-build"), **os.environ}).stdout
    path, named = os.path.join(folder, "go.pb"), os.path.join(folder, "named.pb.gz")
    with open(path, "wb") as file:
        file.write(gzip.decompress(made))
    assert tool.run("symbolize", path, "-o", named).code in (0, 1)
    assert pprof.run(named, "-raw").split("Samples:")[1] == pprof.run(path, "-raw").split("Samples:")[1]


def test_what_is_no_profile(tool, folder):
    for name, content in (("text", b"hello"), ("empty", b""), ("gzip", gzip.compress(b"hello" * 100)), ("cut", gzip.compress(b"hello" * 10000)[:40])):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        done = tool.run("symbolize", path)
        assert done.code == 2 and len(done.lines) == 1 and name in done.lines[0], done.stderr
        assert not os.path.exists(path + ".symbolized.pb.gz")
    assert tool.run("symbolize").code == 64
    assert tool.run("symbolize", "--nonsense", "x").code == 64
    assert b"symbolize PROFILE" in tool.run("symbolize", "--help").stdout
    assert tool.run("symbolize", os.path.join(folder, "absent")).code == 2
