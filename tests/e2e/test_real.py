"""Programs that people run: redis-server under redis-benchmark, a PostgreSQL backend under pgbench, both from Debian's packages."""

import glob
import os
import shutil
import subprocess
import time

import pprof
import pytest
from conftest import TARGETS, TOOL, CpuObserver, assert_untouched, burn_until, cpu_ns, need_other_users, proc_status, wait_for

RSS_LIMIT_MB = 100


def record_with_peak(tool, pid, *args, duration="4s"):
    """A run below maxrss, which notes the tool's largest resident set: (Run, megabytes)."""
    peak, path = os.path.join(tool.folder, "peak"), os.path.join(tool.folder, "out.pb.gz")
    begin = subprocess.Popen([os.path.join(TARGETS, "maxrss"), peak, TOOL, "-p", str(pid), "-d", duration, "-o", path, *map(str, args)],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tool.folder)
    tool.running.append(begin)
    run = tool.finish(begin, path)
    assert run.code == 0, run.stderr
    with open(peak) as file:
        return run, int(file.read()) / 1024


def assert_memory(megabytes, sanitized):
    if not sanitized:
        assert megabytes <= RSS_LIMIT_MB


class Service:
    """Processes that end with the test, the last one started first."""

    def __init__(self):
        self.processes = []

    def start(self, command, **popen):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **popen)
        self.processes.append(process)
        return process

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def service():
    service = Service()
    yield service
    service.close()


@pytest.fixture
def redis(service, folder):
    """A redis-server under load: its PID."""
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    socket = os.path.join(folder, "redis.sock")
    server = service.start(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder])
    wait_for(lambda: os.path.exists(socket), "redis-server listens")
    load = service.start(["redis-benchmark", "-s", socket, "-l", "-q", "-t", "set,get,lpush,lrange_100,zadd", "-n", "20000", "-r", "1000"])
    burn_until(server.pid, 200_000_000)
    assert load.poll() is None
    return server.pid


class Cluster:
    """A temporary PostgreSQL cluster, and pgbench's clients."""

    def __init__(self, service, binaries, folder, as_user):
        self.service, self.binaries, self.folder, self.as_user, self.server = service, binaries, folder, as_user, None

    def command(self, name, *args):
        return [*self.as_user, os.path.join(self.binaries, name), *args]

    def run(self, name, *args):
        done = subprocess.run(self.command(name, *args), capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def is_ready(self):
        return subprocess.run(self.command("pg_isready", "-h", self.folder), capture_output=True, cwd=self.folder).returncode == 0

    def start(self):
        data = os.path.join(self.folder, "data")
        self.run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8")
        self.server = self.service.start(self.command("postgres", "-D", data, "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off",
                                                      "-c", "autovacuum=off"), cwd=self.folder)
        wait_for(self.is_ready, "PostgreSQL accepts connections")
        self.run("pgbench", "-h", self.folder, "-U", "postgres", "-i", "-q", "-s", "2", "postgres")

    def backends(self, clients):
        """The PIDs of so many that answer pgbench's queries."""
        self.service.start(self.command("pgbench", "-h", self.folder, "-U", "postgres", "-n", "-c", str(clients), "-T", "300", "postgres"), cwd=self.folder)

        def at_work(pid):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    # pgbench's first connection only asks for the scale, and ends.
                    return file.read().startswith("postgres: postgres postgres [local]") and cpu_ns(pid) > 200_000_000 // clients
            except OSError:
                return False

        def find():
            pids = [pid for pid in children(self.server.pid) if at_work(pid)]
            return pids if len(pids) >= clients else None

        return wait_for(find, "pgbench's backends, at work")


@pytest.fixture
def cluster(service):
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not binaries or not os.path.exists(os.path.join(binaries[-1], "pgbench")):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    as_user = ()
    if os.geteuid() == 0:  # the server refuses to run as root
        need_other_users()
        shutil.chown(folder, "postgres", "postgres")
        as_user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    cluster = Cluster(service, binaries[-1], folder, as_user)
    cluster.start()
    yield cluster
    service.close()
    service.processes.clear()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(cluster):
    """The PID of a backend that answers pgbench's queries."""
    return cluster.backends(1)[0]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def assert_good(run, observer, figure, megabytes):
    profile = run.load()
    charged = observer.charged_ns(profile)
    figure(f"{run.complete:.2%} of {sum(sample.count for sample in profile.stacks)} stacks complete, peak {megabytes:.0f} MB, "
           f"{run.elapsed_s - profile.duration_s:.2f} s beyond the sampling, {profile.total_ns / charged - 1:+.2%} off the kernel's charge")
    assert run.complete >= 0.99, run.stderr
    assert profile.complete() >= 0.99, profile.chains()
    assert profile.total_ns == pytest.approx(charged, rel=0.03)
    return profile


def timed(tool, pid, *args):
    begin = time.monotonic()
    run, megabytes = record_with_peak(tool, pid, *args)
    run.elapsed_s = time.monotonic() - begin
    return run, megabytes


def test_redis_under_load(redis, tool, figure, sanitized):
    with CpuObserver(redis) as observer:
        run, megabytes = timed(tool, redis, "-r", 199)
    profile = assert_good(run, observer, figure, megabytes)
    assert os.path.basename(profile.mappings[0].file).startswith("redis")
    assert {sample.labels["thread"] for sample in profile.stacks} >= {"redis-server"}
    # Debian's binary keeps its dynamic symbols, and its event loop is one of them.
    assert pprof.top(run.path)["aeMain"].cum_percent > 0
    assert profile.share(lambda sample: "aeMain" in sample.functions, profile.stacks) > 0.9, profile.chains()
    assert_memory(megabytes, sanitized)
    assert_untouched(redis)


def test_redis_states(redis, tool):
    run = tool.record(redis, "-e", "state")
    profile = run.load()
    by_tid = {}
    for sample in profile.samples:
        by_tid[sample.numbers["tid"]] = by_tid.get(sample.numbers["tid"], 0) + sample.ns
    assert len(by_tid) >= 4, "main's thread and three for background work"
    for tid, wall_ns in by_tid.items():
        assert wall_ns / 1e9 == pytest.approx(profile.duration_s, rel=0.02), f"thread {tid}"
    for sample in profile.samples:
        if sample.labels["thread"].startswith("bio_"):
            assert (sample.labels["state"], sample.labels["syscall"]) == ("sleeping", "futex")
    assert run.complete >= 0.99, run.stderr


def test_postgres_backend_under_load(postgres, tool, figure, sanitized):
    with CpuObserver(postgres) as observer:
        run, megabytes = timed(tool, postgres, "-r", 199)
    profile = assert_good(run, observer, figure, megabytes)
    assert os.path.basename(profile.mappings[0].file) == "postgres"
    assert pprof.top(run.path)["PostgresMain"].cum_percent > 0
    assert profile.share(lambda sample: "PostgresMain" in sample.functions, profile.stacks) > 0.9, profile.chains()
    assert_memory(megabytes, sanitized)
    assert_untouched(postgres)


def test_postgres_backend_states(postgres, tool):
    profile = tool.record(postgres, "-e", "state").load()
    assert profile.total_ns / 1e9 == pytest.approx(profile.duration_s, rel=0.02)
    waits = {sample.labels.get("syscall") for sample in profile.samples if sample.labels["state"] == "sleeping"}
    assert waits & {"epoll_wait", "epoll_pwait"}, "it waits for the client between two queries"
    assert profile.complete() >= 0.99, profile.chains()


def test_memory_with_many_threads_and_deep_stacks(start, tool, figure, sanitized):
    peaks = {}
    for name in ("threads64", "recurse"):
        target = start(name)
        for event in ("cpu", "state"):
            _, peaks[name, event] = record_with_peak(tool, target.pid, "-e", event, duration="2s")
    figure(", ".join(f"{name} {event} {megabytes:.0f} MB" for (name, event), megabytes in peaks.items()))
    assert_memory(max(peaks.values()), sanitized)
    assert proc_status(target.pid, "TracerPid") == "0"
