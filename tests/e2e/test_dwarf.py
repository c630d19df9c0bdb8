"""Every form of DWARF that compilers and linkers make, against llvm-symbolizer: depth, files and lines of 2,000 addresses each."""

import os
import random
import re
import shutil
import subprocess

import made_profile
import pprof
import pytest

CXX = """
#include <algorithm>
#include <map>
#include <string>
#include <vector>
namespace shop { namespace {
struct item { std::string name; int price; bool operator<(const item &o) const { return price < o.price; } };
template <class T> inline T half(T x) { return x / 2; }
inline int discount(int x) { return half<int>(x) + half<long>(x) % 7; }
}
struct till {
	std::map<std::string, int> sums;
	int add(const item &one) { return sums[one.name] += discount(one.price); }
};
int sell(std::vector<item> &items)
{
	till t;
	std::sort(items.begin(), items.end());
	auto twice = [&](int x) { return x + discount(x); };
	int sum = 0;
	for (const auto &one : items)
		sum += twice(t.add(one));
	if (sum < 0)
		throw std::string("negative") + std::to_string(sum);
	return sum;
}
}
extern "C" long c_part(long, const char *);
int main(int argc, char **argv)
{
	std::vector<shop::item> items;
	for (int i = 0; i < argc * 10; i++)
		items.push_back({argv[i % argc], i * 3 % 7});
	return shop::sell(items) + c_part(argc, argv[0]);
}
"""

# -O2 makes .cold, .part and .constprop of these.
C = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((cold, noinline)) static void fail(const char *what, long n) { fprintf(stderr, "%s %ld", what, n); exit(1); }
static long parse(const char *text, long base, long max)
{
	long n = 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9') {
			fprintf(stderr, "no digit %c", *text);
			if (n > max) { fail("too large", n); }
			break;
		}
		n = n * base + *text - '0';
		if (n > max) fail("too large", n);
	}
	return n;
}
static __attribute__((noinline)) long walk(long depth, const char *text)
{
	if (depth == 0)
		return parse(text, 10, 1000);
	return walk(depth - 1, text) + parse(text, 8, 500) % 3;
}
long c_part(long n, const char *text) { return walk(n, text) + walk(n / 2, text + 1); }
"""


def make(folder, *command):
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def compiled(folder, cxx, cc, flags, link=()):
    for name, text in (("shop.cc", CXX), ("part.c", C)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    make(folder, cxx, "-c", *flags, "shop.cc")
    make(folder, cc, "-c", *flags, "part.c")
    make(folder, cxx, *flags, *link, "-Wl,--build-id", "-o", "shop", "shop.o", "part.o")
    return os.path.join(folder, "shop")


def by_llvm(program, addresses, folder):
    """[[(file, line), ...]], innermost first."""
    done = subprocess.run(["llvm-symbolizer", "--obj", program, "--no-demangle"], input="".join(f"{address:#x}\n" for address in addresses),
                          capture_output=True, text=True, check=True, cwd=folder).stdout
    chains = [text.splitlines() for text in done.strip("\n").split("\n\n")]
    assert len(chains) == len(addresses)
    # Padding between functions has a line and no function: no address of a stack is there.
    chains = [chain[1::2] if chain[-2] != "??" else ["??:0"] for chain in chains]
    return [[(os.path.normpath(line.rsplit(":", 2)[0]), int(line.rsplit(":", 2)[1])) for line in chain] for chain in chains]


def check(tool, folder, program, truth=None, n=2000, least=0.5):
    """The program's names against those that llvm-symbolizer finds in it, or in `truth`."""
    draw = random.Random(42)
    start, size = made_profile.section(program, ".text")
    addresses = sorted(draw.sample(range(start, start + size), min(n, size)))
    path, named = os.path.join(folder, "made.pb.gz"), os.path.join(folder, "named.pb.gz")
    made_profile.write(path, program, addresses)
    done = tool.run("symbolize", path, "-o", named)
    assert done.code == 0, done.stderr
    raw = pprof.run(named, "-raw")
    places = {place.address - made_profile.BIAS: place for place in pprof.locations(raw)}
    wrong, compared = [], 0
    for address, wanted in zip(addresses, by_llvm(truth or program, addresses, folder)):
        if wanted[0][1] == 0:
            continue
        here = [(os.path.normpath(line.file), line.line) for line in places[address].lines]
        compared += 1
        if here != wanted:
            wrong.append(f"{address:#x}: here {here}, llvm {wanted}")
    assert compared >= least * len(addresses), compared
    assert not wrong, f"{len(wrong)} of {compared}:\n" + "\n".join(wrong[:5])


PLAIN = [("g++", "gcc"), ("clang++", "clang")]


@pytest.mark.parametrize("flags", ["-O2 -gdwarf-5", "-O2 -gdwarf-4", "-O1 -gdwarf-3", "-O2 -g1", "-O0 -g", "-O2 -g -ffunction-sections",
                                   "-O2 -g -fdebug-types-section", "-O2 -g -flto", "-O2 -g -freorder-blocks-and-partition -fipa-sra"])
@pytest.mark.parametrize("compilers", PLAIN, ids=["gcc", "clang"])
def test_compilers(tool, folder, compilers, flags):
    if compilers[0] == "clang++" and "-fipa-sra" in flags:
        pytest.skip("gcc's options")
    link = ["-fuse-ld=lld"] if compilers[0] == "clang++" and "-flto" in flags else ["-Wl,--gc-sections"]
    # By gcc -g1, calls inlined are not noted with lines: the same by both.
    check(tool, folder, compiled(folder, *compilers, flags.split(), link))


def test_line_tables_only(tool, folder):
    check(tool, folder, compiled(folder, "clang++", "clang", ["-O2", "-gline-tables-only"]))


@pytest.mark.parametrize("flags", ["-gdwarf-5", "-gdwarf-4"])
@pytest.mark.parametrize("compilers", PLAIN, ids=["gcc", "clang"])
@pytest.mark.parametrize("packed", [False, True], ids=["dwo", "dwp"])
def test_split(tool, folder, compilers, flags, packed):
    program = compiled(folder, *compilers, ["-O2", flags, "-gsplit-dwarf"])
    if packed:
        packer = "dwp" if compilers[0] == "g++" and flags == "-gdwarf-4" else "llvm-dwp"
        if shutil.which(packer) is None:
            pytest.skip(f"no {packer} here")
        make(folder, packer, "-e", program, "-o", program + ".dwp")
        for name in ("shop.dwo", "part.dwo"):
            os.unlink(os.path.join(folder, name))
    check(tool, folder, program)
    # Without the halves there are still lines, and no wrong names.
    for name in os.listdir(folder):
        if name.endswith((".dwo", ".dwp")):
            os.unlink(os.path.join(folder, name))
    path, named = os.path.join(folder, "made.pb.gz"), os.path.join(folder, "named.pb.gz")
    assert tool.run("symbolize", path, "-o", named).code == 0
    lines = [line for place in pprof.locations(pprof.run(named, "-raw")) for line in place.lines]
    assert sum(line.line > 0 for line in lines) > 0.5 * len(lines)


def test_split_halves_in_another_folder(tool, folder):
    program = compiled(folder, "g++", "gcc", ["-O2", "-g", "-gsplit-dwarf"])
    os.mkdir(os.path.join(folder, "halves"))
    truth = by_llvm(program, [made_profile.section(program, ".text")[0] + 0x100], folder)
    for name in ("shop.dwo", "part.dwo"):
        os.rename(os.path.join(folder, name), os.path.join(folder, "halves", name))
    path, named = os.path.join(folder, "made.pb.gz"), os.path.join(folder, "named.pb.gz")
    made_profile.write(path, program, [made_profile.section(program, ".text")[0] + 0x100])
    assert tool.run("symbolize", path, "-o", named, "--debuginfo-path", os.path.join(folder, "halves")).code == 0
    (place,) = pprof.locations(pprof.run(named, "-raw"))
    assert [(os.path.normpath(line.file), line.line) for line in place.lines] == truth[0]


@pytest.mark.parametrize("how", ["zlib", "zlib-gnu", "zstd"])
def test_compressed_sections(tool, folder, how):
    program = compiled(folder, "g++", "gcc", ["-O2", "-g"])
    packed = os.path.join(folder, "packed")
    done = subprocess.run(["objcopy", f"--compress-debug-sections={how}", program, packed], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"objcopy cannot compress by {how}: {done.stderr}")
    names = subprocess.run(["readelf", "-SW", packed], capture_output=True, text=True, check=True).stdout
    assert (".zdebug_info" in names) == (how == "zlib-gnu") and os.path.getsize(packed) < os.path.getsize(program)
    check(tool, folder, packed, truth=program)


@pytest.mark.parametrize("version", ["4", "5"])
def test_dwz(tool, folder, version):
    """Information moved to partial units, and to a file that two programs share."""
    if shutil.which("dwz") is None:
        pytest.skip("no dwz here")
    program = compiled(folder, "g++", "gcc", ["-O2", "-gdwarf-" + version])
    for name in ("first", "second"):
        shutil.copy(program, os.path.join(folder, name))
    make(folder, "dwz", "-m", "common", "first", "second")
    check(tool, folder, os.path.join(folder, "first"), truth=program)


def test_units_that_do_not_say_what_code_they_have(tool, folder):
    """Their functions do. The attribute of the unit is renamed in the abbreviations: DW_AT_ranges to a vendor's."""
    program = compiled(folder, "g++", "gcc", ["-O2", "-gdwarf-5"])
    blind = os.path.join(folder, "blind")
    make(folder, "objcopy", "--dump-section", ".debug_abbrev=abbrev", program)
    with open(os.path.join(folder, "abbrev"), "rb") as file:
        table = file.read()
    # DW_AT_ranges (0x55) as DW_FORM_sec_offset, then DW_AT_low_pc: only units have both.
    changed = table.replace(b"\x55\x17\x11\x01", b"\x7f\x17\x7e\x01")
    assert changed != table
    with open(os.path.join(folder, "abbrev"), "wb") as file:
        file.write(changed)
    make(folder, "objcopy", "--update-section", ".debug_abbrev=abbrev", program, blind)
    path, named = os.path.join(folder, "made.pb.gz"), os.path.join(folder, "named.pb.gz")
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    addresses = [int(re.search(rf"(\w+) [tT] {name}\n", symbols)[1], 16) for name in ("c_part", "_ZN4shop4sellERSt6vectorINS_12_GLOBAL__N_14itemESaIS2_EE")
                 if re.search(rf"(\w+) [tT] {name}\n", symbols)]
    made_profile.write(path, blind, addresses)
    assert tool.run("symbolize", path, "-o", named).code == 0
    here = [[(os.path.normpath(line.file), line.line) for line in place.lines] for place in pprof.locations(pprof.run(named, "-raw"))]
    assert here == by_llvm(program, addresses, folder)
