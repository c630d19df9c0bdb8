"""Functions, files, lines, inlined calls, mappings and build-ids, checked against binutils and the sources."""

import os
import re
import shutil
import subprocess

import pprof
import pytest
from conftest import SOURCES, TARGETS, source_line


def build_id(name):
    notes = subprocess.run(["readelf", "-nW", os.path.join(TARGETS, name)], capture_output=True, text=True, check=True).stdout
    return re.search(r"Build ID: ([0-9a-f]+)", notes)[1]


def symbol_ranges(name):
    """{function: (first address, end)} by nm."""
    lines = subprocess.run(["nm", "-S", os.path.join(TARGETS, name)], capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in lines.splitlines()]
    return {word[3]: (int(word[0], 16), int(word[0], 16) + int(word[1], 16))
            for word in words if len(word) == 4 and word[2] in "tT"}


def link_address(place, name):
    """The address in the file: x - start + offset - p_offset + p_vaddr."""
    headers = subprocess.run(["readelf", "-lW", os.path.join(TARGETS, name)], capture_output=True, text=True, check=True).stdout
    file_offset = place.address - place.mapping.start + place.mapping.offset
    for p_offset, p_vaddr, size in re.findall(r"LOAD\s+(0x\w+) (0x\w+) 0x\w+ (0x\w+)", headers):
        if 0 <= file_offset - int(p_offset, 16) < int(size, 16):
            return file_offset - int(p_offset, 16) + int(p_vaddr, 16)
    raise AssertionError(f"{place.address:#x} is in no segment of {name}")


@pytest.mark.parametrize("name", ["c_o0", "c_omit_fp", "pie", "no_pie", "static"])
def test_names_agree_with_the_binarys_symbols(start, tool, name):
    profile = tool.record(start(name).pid, "-r", 199).load()
    ranges = symbol_ranges(name)
    checked = 0
    for place in {place.id: place for sample in profile.stacks for place in sample.stack}.values():
        if place.mapping is None or os.path.basename(place.mapping.file) != name:
            continue
        assert place.mapping.start <= place.address < place.mapping.limit
        if place.function in ranges:
            first, end = ranges[place.function]
            assert first <= link_address(place, name) < end, place
            checked += 1
    assert checked >= 4, "inner, middle, outer and main at the least"


@pytest.mark.parametrize("name", ["c_o0", "pie", "static"])
def test_files_lines_mappings_and_build_id(start, tool, name):
    profile = tool.record(start(name).pid, "-r", 199).load()
    assert profile.mappings[0].file == os.path.join(TARGETS, name)
    assert profile.mappings[0].build_id == build_id(name)
    calls = {"middle": "return inner(x + 1)", "outer": "return middle(x * 3)", "main": "sink = outer(sink)"}
    with open(os.path.join(SOURCES, "chain.c")) as file:
        source = file.read().splitlines()
    seen = set()
    for sample in profile.stacks:
        for place in sample.stack[1:]:
            if place.function in calls and sample.stack[0] is not place:
                line = place.lines[-1]
                assert line.file == os.path.join(SOURCES, "chain.c")
                assert calls[place.function] in source[line.line - 1], line
                assert place.function + "(" in source[line.start_line - 1], line
                seen.add(place.function)
    assert seen == set(calls)


def test_position_independent_addresses_are_not_normalised(start, tool):
    target = start("pie")
    with open(f"/proc/{target.pid}/maps") as file:
        text = next(line.split() for line in file if " r-xp " in line and line.rstrip().endswith("/pie"))
    profile = tool.record(target.pid).load()
    start_address, limit = (int(part, 16) for part in text[0].split("-"))
    mapping = profile.mappings[0]
    assert (mapping.start, mapping.limit, mapping.offset) == (start_address, limit, int(text[2], 16))


def test_inlined_functions_templates_and_namespaces(start, tool):
    profile = tool.record(start("cpp_inline").pid, "-r", 499).load()
    places = {place.id: place for sample in profile.stacks for place in sample.stack}
    chains = [place.lines for place in places.values() if len(place.lines) == 3]
    assert chains, profile.chains()
    expected = [(r"\bgeo::detail::blend<unsigned long>", "blend"), (r"\bgeo::detail::smooth<unsigned long>", "smooth"),
                (r"^geo::Grid<unsigned long>::relax\b", "relax")]
    matching = 0
    for lines in chains:
        for line, (function, _) in zip(lines, expected):
            assert re.search(function, line.function), [line.function for line in lines]
            assert line.file == os.path.join(SOURCES, "cpp_inline.cc")
        # A loop's head belongs to smooth at its `for`; the call's line does when blend is the innermost.
        wanted = [source_line("cpp_inline.cc", marker) for _, marker in expected]
        matching += [line.line for line in lines] == wanted
    assert matching, [[line.line for line in lines] for lines in chains]
    outer = [line for place in places.values() for line in place.lines if "Solver::step" in line.function]
    assert outer and all(line.line == source_line("cpp_inline.cc", "step") for line in outer)
    # Hardly anything of the time lies outside the inlined pair.
    inlined = profile.share(lambda sample: any("geo::detail::" in name for name in sample.functions))
    assert inlined >= 0.95, profile.chains()


def test_pprof_shows_the_inlined_functions(start, tool):
    run = tool.record(start("cpp_inline").pid, "-r", 199)
    top = pprof.top(run.path)
    relax = [line for function, line in top.items() if "relax" in function]
    blend = [line for function, line in top.items() if "blend" in function]
    assert relax and relax[0].cum_percent >= 95
    assert blend and blend[0].flat_percent >= 50


def test_stripped_program_can_be_named_later(start, tool):
    run = tool.record(start("stripped").pid, "-r", 199)
    profile = run.load()
    own = profile.mappings[0]
    assert os.path.basename(own.file) == "stripped"
    assert own.build_id == build_id("stripped")
    # pprof looks no further where a mapping says that it has functions.
    assert "[FN]" not in own.flags
    assert not any("inner" in sample.functions for sample in profile.samples)
    # At home, the binary with symbols names the addresses that the file has: truth by binutils' addr2line.
    elsewhere = os.path.join(TARGETS, "stripped.full")
    leaves = {hex(sample.stack[0].address - own.start + own.offset) for sample in profile.stacks if sample.stack[0].mapping is own}
    assert leaves
    names = subprocess.run(["addr2line", "-f", "-e", elsewhere, *leaves], capture_output=True, text=True, check=True).stdout.split()[::2]
    assert set(names) <= {"target_mix", "inner", "middle", "outer", "main"} and {"target_mix", "inner"} & set(names), names


def test_libc_has_its_build_id_and_is_not_taken_for_the_program(start, tool):
    profile = tool.record(start("threads64").pid, "-r", 199).load()
    libc = [mapping for mapping in profile.mappings if re.search(r"/libc[.-]", mapping.file)]
    assert libc and all(re.fullmatch(r"[0-9a-f]{40}", mapping.build_id) for mapping in libc)


def test_program_that_was_deleted_while_it_runs(start, tool, folder):
    copy = os.path.join(folder, "deleted_target")
    shutil.copy(os.path.join(TARGETS, "c_o0"), copy)
    target = start(copy)
    os.unlink(copy)
    profile = tool.record(target.pid, "-r", 199).load()
    assert profile.mappings[0].file == copy, "without the kernel's ' (deleted)'"
    assert profile.mappings[0].build_id == build_id("c_o0")
    assert profile.share_under("inner") >= 0.95, "its symbols are still to be had through /proc: " + profile.chains()
