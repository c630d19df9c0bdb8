"""Separate debug files, in every form in which they come; made with binutils, dwz and xz."""

import ctypes
import http.server
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest
from conftest import SOURCES, TARGETS, TOOL, source_line, wait_for


def build_id(path):
    notes = subprocess.run(["readelf", "-nW", path], capture_output=True, text=True, check=True).stdout
    return re.search(r"Build ID: ([0-9a-f]+)", notes)[1]


def make(*command, **named):
    subprocess.run([str(word) for word in command], check=True, **named)


class Files:
    """A program in FOLDER/bin, stripped, and its debug file wherever a test wants it."""

    def __init__(self, folder, name="cpp_inline"):
        self.folder, self.full = folder, os.path.join(TARGETS, name)
        os.mkdir(self.path("bin"))
        self.program = self.path("bin/service")
        make("strip", "-o", self.program, self.full)

    def path(self, name):
        return os.path.join(self.folder, name)

    def debug(self, name):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        make("objcopy", "--only-keep-debug", self.full, self.path(name))
        return self.path(name)


@pytest.fixture
def files(folder):
    return Files(folder)


def check_named(profile):
    """The inlined chain with its lines."""
    places = {place.id: place for sample in profile.stacks for place in sample.stack}
    chains = [place.lines for place in places.values() if len(place.lines) == 3]
    assert chains, profile.chains()
    assert any([line.line for line in lines] == [source_line("cpp_inline.cc", name) for name in ("blend", "smooth", "relax")]
               for lines in chains)
    assert all(line.file == os.path.join(SOURCES, "cpp_inline.cc") for lines in chains for line in lines)


def is_named(profile):
    return any("geo::" in name for sample in profile.samples for name in sample.functions)


def test_debuginfo_path_is_searched_in_its_order(start, tool, files):
    target = start(files.program)
    os.mkdir(files.path("empty"))
    assert not is_named(tool.record(target.pid, "-r", 199, "--debuginfo-path", files.path("empty"), duration="1s").load())
    files.debug("debug/service.debug")
    run = tool.record(target.pid, "-r", 199, "-v", "--debuginfo-path", files.path("empty"), "--debuginfo-path", files.path("debug"), duration="1s")
    check_named(run.load())
    assert "DWARF (separate file)" in run.stderr


@pytest.mark.parametrize("place", ["bin/service.debug", "bin/.debug/service.debug"])
@pytest.mark.parametrize("with_id", [True, False])
def test_debuglink(start, tool, files, place, with_id):
    if not with_id:
        make("objcopy", "--remove-section=.note.gnu.build-id", files.program)
        files.full = shutil.copy(files.full, files.path("no_id"))
        make("objcopy", "--remove-section=.note.gnu.build-id", files.full)
    make("objcopy", f"--add-gnu-debuglink={files.debug(place)}", files.program)
    target = start(files.program)
    check_named(tool.record(target.pid, "-r", 199, duration="1s").load())
    # One byte more: without a build-id, the CRC tells that it is another file.
    with open(files.path(place), "ab") as file:
        file.write(b"x")
    assert is_named(tool.record(target.pid, "-r", 199, duration="1s").load()) == with_id


def test_a_debug_file_of_another_build_is_not_taken(start, tool, files):
    other = files.path("bin/service.debug")
    make("objcopy", "--only-keep-debug", os.path.join(TARGETS, "stripped.full"), other)
    make("objcopy", f"--add-gnu-debuglink={other}", files.program)
    run = tool.record(start(files.program).pid, "-r", 199, "--debuginfo-path", files.path("bin"), duration="1s")
    assert not any({"inner", "outer"} & set(sample.functions) for sample in run.load().samples)


def test_minidebuginfo(start, tool, files):
    mini = files.path("mini")
    make("strip", "-g", "-o", mini, files.full)
    make("xz", "--keep", mini)
    make("objcopy", f"--add-section=.gnu_debugdata={mini}.xz", files.program)
    run = tool.record(start(files.program).pid, "-r", 199, "-v", duration="1s")
    assert run.load().share(lambda sample: any("relax" in name or "step" in name for name in sample.functions)) >= 0.9
    assert "minidebuginfo" in run.stderr
    # Damaged, it says nothing, and harms nothing.
    with open(mini + ".xz", "r+b") as file:
        file.seek(200)
        file.write(b"\xff" * 64)
    make("objcopy", "--remove-section=.gnu_debugdata", files.program, files.path("bin/damaged"))
    make("objcopy", f"--add-section=.gnu_debugdata={mini}.xz", files.path("bin/damaged"))
    assert not is_named(tool.record(start(files.path("bin/damaged")).pid, "-r", 199, duration="1s").load())


def test_dwz_shares_information(start, tool, files):
    """dwz moves what two programs have in common to a third file: with it there are names, without it no wrong ones."""
    if shutil.which("dwz") is None:
        pytest.skip("no dwz here")
    first, second = files.path("bin/first"), files.path("bin/second")
    for path in (first, second):
        shutil.copy(files.full, path)
    # Debian's dwz reads DWARF 5 with -5 only.
    make("dwz", "-m", files.path("bin/common"), first, second)
    assert b".gnu_debugaltlink" in open(first, "rb").read()
    target = start(first)
    check_named(tool.record(target.pid, "-r", 199, duration="1s").load())
    os.rename(files.path("bin/common"), files.path("common"))
    assert tool.record(target.pid, "-r", 199, duration="1s").load().share_under("main") >= 0.9
    check_named(tool.record(target.pid, "-r", 199, "--debuginfo-path", files.folder, duration="1s").load())


# ---- debuginfod ----


class Server(http.server.BaseHTTPRequestHandler):
    """Answers /buildid/ID/debuginfo with what is in `files`; with `hold`, does not answer at all until that is set."""

    files, asked, hold = {}, [], None

    def do_GET(self):
        self.asked.append(self.path)
        if self.hold is not None:
            self.hold.wait(60)
        path = self.files.get(self.path)
        self.send_response(200 if path else 404)
        content = open(path, "rb").read() if path else b""
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(folder):
    """The class of its answers, and the environment of the tool that names it."""
    try:
        ctypes.CDLL("libdebuginfod.so.1")
    except OSError:
        pytest.skip("no libdebuginfod.so.1 here (apt-get install libdebuginfod1)")
    answers = type("Answers", (Server,), {"files": {}, "asked": [], "hold": None})
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    answers.environment = {**os.environ, "DEBUGINFOD_URLS": f"http://127.0.0.1:{listener.server_port}/", "HOME": folder,
                           "DEBUGINFOD_CACHE_PATH": os.path.join(folder, "cache")}
    yield answers
    if answers.hold is not None:
        answers.hold.set()
    listener.shutdown()
    thread.join()
    listener.server_close()


def need_loader():
    headers = subprocess.run(["readelf", "-lW", TOOL], capture_output=True, text=True, check=True).stdout
    if "INTERP" not in headers:
        pytest.skip("a static program loads no library")


def test_debuginfod_only_when_asked_for(start, tool, files, server):
    need_loader()
    target = start(files.program)
    request = f"/buildid/{build_id(files.full)}/debuginfo"
    server.files[request] = files.debug("served")
    # The variable alone is not a wish.
    assert not is_named(tool.record(target.pid, "-r", 199, duration="1s", env=server.environment).load())
    assert server.asked == []
    check_named(tool.record(target.pid, "-r", 199, "--debuginfod", duration="1s", env=server.environment).load())
    assert request in server.asked
    # A wrong file is worse than none.
    make("objcopy", "--only-keep-debug", os.path.join(TARGETS, "stripped.full"), files.path("served"))
    shutil.rmtree(files.path("cache"))
    assert not is_named(tool.record(target.pid, "-r", 199, "--debuginfod", duration="1s", env=server.environment).load())


def test_debuginfod_without_a_server(start, tool, files):
    need_loader()
    environment = {key: value for key, value in os.environ.items() if key != "DEBUGINFOD_URLS"}
    run = tool.record(start(files.program).pid, "-r", 199, "--debuginfod", duration="1s", env=environment)
    assert "DEBUGINFOD_URLS" in run.stderr


def test_debuginfod_that_does_not_answer_is_left(start, tool, files, server):
    """Ctrl-C goes on without: the profile is written."""
    need_loader()
    server.hold = threading.Event()
    path = files.path("out.pb.gz")
    process = tool.start("-p", start(files.program).pid, "-d", "500ms", "-r", 199, "--max-overhead", "100%", "--debuginfod", "-o", path,
                         env=server.environment)
    wait_for(lambda: server.asked, "the tool asks the server")
    process.send_signal(signal.SIGINT)
    run = tool.finish(process, path)
    assert run.code in (0, 1), run.stderr
    assert run.load().stacks
