"""How fast names are found, and with how much memory, beside llvm-symbolizer: a part of tests/bench/bench.py."""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time

import conftest
import made_profile
import pytest

NAMES = 11
COPIES, ADDRESSES = 32, 1000
BAR_RATIO, BAR_MB, BAR_SMALL_MS = 6, 60, 5

SOURCE = """
#include <algorithm>
#include <deque>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>
namespace unit {
template <int N> struct key {
	long v;
	bool operator<(const key &o) const { return v < o.v; }
	bool operator==(const key &o) const { return v == o.v; }
};
template <int N> struct hash { size_t operator()(const key<N> &k) const { return k.v * N; } };
template <int N> long work(long x)
{
	std::map<key<N>, std::string> m;
	std::unordered_map<key<N>, std::vector<key<N>>, hash<N>> u;
	std::set<key<N>> s;
	std::deque<key<N>> d;
	std::vector<std::unique_ptr<key<N>>> p;
	std::variant<key<N>, std::string, std::vector<key<N>>> one;
	std::function<long(key<N>)> f = [&](key<N> k) { return k.v + x; };
	for (long i = 0; i < x; i++) {
		key<N> k{i ^ N};
		m[k] = std::to_string(i);
		u[k].push_back(k);
		s.insert(k);
		d.push_back(k);
		p.push_back(std::make_unique<key<N>>(k));
		one = k;
		x += f(k);
	}
	std::vector<key<N>> w(d.begin(), d.end());
	std::sort(w.begin(), w.end());
	std::stable_sort(w.begin(), w.end());
	auto later = std::async(std::launch::deferred, [&] { return long(w.size()); });
	return x + later.get() + m.size() + u.size() + s.size() + p.size() + one.index();
}
template <int... N> long all(long x, std::integer_sequence<int, N...>) { return (0 + ... + work<N>(x)); }
long run(long x) { return all(x, std::make_integer_sequence<int, 20>()); }
}
"""


def large_program(build):
    """One unit of templates, many times under other names: it cannot run, and needs not. Made once."""
    folder = build / "bench-symbols"
    program = folder / "large"
    if program.exists():
        return program
    if shutil.which("ld.lld") is None:
        pytest.skip("no lld, which links what lacks symbols")
    folder.mkdir(exist_ok=True)
    (folder / "unit.cc").write_text(SOURCE)
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    print("  compiling a program with 200 MB of DWARF ...", file=sys.stderr, flush=True)
    subprocess.run(["g++", "-std=c++17", "-O2", "-g", "-c", "unit.cc"], cwd=folder, check=True)
    subprocess.run(["gcc", "-g", "-c", "main.c"], cwd=folder, check=True)
    objects = ["main.o"]
    for i in range(COPIES):
        objects.append(f"unit{i}.o")
        subprocess.run(["objcopy", f"--prefix-symbols=copy{i}_", "unit.o", objects[-1]], cwd=folder, check=True)
    subprocess.run(["g++", "-fuse-ld=lld", "-nostdlib", "-static", "-Wl,--unresolved-symbols=ignore-all,--noinhibit-exec,--build-id,-e,main",
                    "-o", "part", *objects], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    for name in objects:
        (folder / name).unlink()
    os.rename(folder / "part", program)
    return program


def dwarf_mb(program):
    sizes = subprocess.run(["size", "-A", program], capture_output=True, text=True, check=True).stdout
    return sum(int(line.split()[1]) for line in sizes.splitlines() if line.startswith(".debug")) / 1e6


def timed(command, text=None):
    """Seconds, and peak MB of the process and its children."""
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if text:
        process.stdin.write(text.encode())
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def addresses_of(program, n):
    start, size = made_profile.section(program, ".text")
    return random.Random(1).sample(range(start, start + size), min(n, size))


def large(bench, build, rounds):
    program = large_program(build)
    addresses = addresses_of(program, ADDRESSES)
    profile = os.path.join(bench.folder, "large.pb.gz")
    made_profile.write(profile, str(program), addresses)
    ours = [conftest.TOOL, "symbolize", "-q", profile, "-o", os.path.join(bench.folder, "named.pb.gz")]
    peer, text = ["llvm-symbolizer", "--obj", program, "--no-demangle"], "".join(f"{address:#x}\n" for address in addresses)
    here, there = [], []
    for _ in range(rounds):
        here.append(timed(ours))
        there.append(timed(peer, text) if shutil.which(peer[0]) else (0, 0))
    seconds, peer_s = statistics.median(pair[0] for pair in here), statistics.median(pair[0] for pair in there)
    mb, peer_mb = max(pair[1] for pair in here), max(pair[1] for pair in there)
    what = f"{ADDRESSES} addresses, {dwarf_mb(program):.0f} MB of DWARF"
    bench.table.limit(NAMES, what, f"{1000 * seconds:.0f} ms", seconds, f"1/{BAR_RATIO} of llvm-symbolizer's {1000 * peer_s:.0f} ms",
                      max(peer_s, 1e-9) / BAR_RATIO)
    bench.table.limit(NAMES, "its peak memory", f"{mb:.0f} MB", mb, f"{BAR_MB} MB; llvm-symbolizer {peer_mb:.0f} MB", BAR_MB)


def small(bench, build, rounds):
    program = str(build / "targets/c_omit_fp")
    profile = os.path.join(bench.folder, "small.pb.gz")
    made_profile.write(profile, program, addresses_of(program, ADDRESSES))
    ours = [conftest.TOOL, "symbolize", "-q", profile, "-o", os.path.join(bench.folder, "named.pb.gz")]
    nothing = statistics.median(timed([conftest.TOOL, "--version"])[0] for _ in range(4 * rounds))
    seconds = statistics.median(timed(ours)[0] for _ in range(4 * rounds))
    bench.table.limit(NAMES, "a small C program, the whole command", f"{1000 * seconds:.1f} ms ({1000 * nothing:.1f} ms of it start and end)",
                      seconds, f"{BAR_SMALL_MS} ms", BAR_SMALL_MS / 1000)


def measure(bench, build, wanted, quick):
    if NAMES not in wanted:
        return
    bench.table.attempt(NAMES, "a large program", large, bench, build, 3 if quick else 7)
    bench.table.attempt(NAMES, "a small program", small, bench, build, 3 if quick else 7)
