"""Exact stacks by single-stepping: tests/truth/truth compares the unwinder with a shadow stack, at any instruction."""

import os
import re
import subprocess

import pytest
from conftest import TARGETS

TRUTH = os.path.join(os.path.dirname(TARGETS), "truth")
SCORE = r"^%s compared (\d+) exact (\d+) guessed (\d+) torn (\d+) lies (\d+) wrong_guesses (\d+)$"
STOPS = int(os.environ.get("TRUTH_STOPS", "500"))
# Each round of `parts` has some 20,000 instructions: so often, 500 stops see all of it.
EVERY = int(os.environ.get("TRUTH_EVERY", "60"))

WITH_TABLES = ["gcc_o0", "gcc_o2", "gcc_o2_omit", "gcc_o3_no_pie", "clang_o0", "clang_o2", "lazy", "static", "static_pie", "static_no_hdr",
               "no_hdr", "lld", "debug_frame", "debug_frame_z", "debug_frame_o0"]
PARTS = ["deep", "leaves", "variable", "alloca", "realigned", "sorted", "formatted", "bound", "longjmp", "signal", "altstack", "vdso",
         "written"]
THROWING = ["cpp_gcc", "cpp_gcc_o0", "cpp_clang", "rust"]


class Score:
    def __init__(self, name, text):
        match = re.search(SCORE % name, text, re.M)
        assert match, text
        self.compared, self.exact, self.guessed, self.torn, self.lies, self.wrong_guesses = map(int, match.groups())


def step(name, *args, stops=STOPS, every=EVERY, seed=1, unwinder="rows"):
    program = os.path.join(TRUTH, name)
    if not os.path.exists(program):
        pytest.skip(f"no {name}: its compiler was not there when the targets were built")
    done = subprocess.run([os.path.join(TRUTH, "truth"), str(stops), str(every), str(seed), unwinder, program, *args],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return Score("awake", done.stdout), Score("asleep", done.stdout), done.stdout


def assert_exact(awake, asleep, text):
    assert awake.compared >= 0.9 * STOPS, text
    assert awake.exact == awake.compared, text
    assert asleep.exact >= 0.9 * asleep.compared, text
    assert asleep.lies == asleep.wrong_guesses == 0, text


@pytest.mark.parametrize("name", WITH_TABLES)
def test_every_stack_is_exact(name):
    awake, asleep, text = step(name)
    assert_exact(awake, asleep, text)
    assert asleep.compared > 0 and awake.torn == 0, text


@pytest.mark.parametrize("part", PARTS)
def test_every_stack_of_one_kind_is_exact(part):
    assert_exact(*step("gcc_o2", part, every=4, seed=2))


@pytest.mark.parametrize("name", THROWING)
def test_what_an_exception_overwrites_is_cut_and_the_rest_exact(name):
    awake, asleep, text = step(name, every=15)
    assert_exact(awake, asleep, text)
    assert awake.torn <= 0.05 * STOPS, text


def test_no_stack_without_tables_claims_to_be_complete_and_is_wrong():
    awake, asleep, text = step("musl")
    assert awake.lies == asleep.lies == 0, text
    assert awake.wrong_guesses == asleep.wrong_guesses == 0, text


def test_libunwind_contradicts_no_exact_stack():
    # Walked by both: what the shadow stack confirms, libunwind never has otherwise.
    _, _, text = step("gcc_o2", unwinder="both")
    match = re.search(r"^both walks (\d+) contradict (\d+) ", text, re.M)
    assert match and int(match[1]) >= STOPS, text
    assert int(match[2]) <= 0.01 * int(match[1]), text
