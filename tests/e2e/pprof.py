"""Reads profiles with `go tool pprof`, never with code of this project: what -raw, -top and -traces print."""

import glob
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import datetime, timezone


def go_command():
    """Path of the go command, or None. GO overrides."""
    places = [os.environ.get("GO"), shutil.which("go"), "/usr/local/go/bin/go", *glob.glob("/usr/lib/go*/bin/go")]
    return next((place for place in places if place and os.access(shutil.which(place) or place, os.X_OK)), None)


def run(path, *options, env=None):
    """What `go tool pprof OPTIONS path` prints. Without -symbolize it may read no binary: the file must say all itself."""
    if not any(option.startswith("-symbolize") for option in options):
        options = ("-symbolize=none", *options)
    done = subprocess.run([go_command(), "tool", "pprof", *options, str(path)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})})
    assert done.returncode == 0, f"go tool pprof {' '.join(options)} refuses the file:\n{done.stderr}"
    return done.stdout


# Inlined wherever a target burns time: not a part of the chains that the tests expect.
BURNER = "target_mix"


@dataclass(frozen=True)
class Line:
    function: str
    file: str
    line: int
    start_line: int


@dataclass
class Mapping:
    id: int
    start: int
    limit: int
    offset: int
    file: str
    build_id: str
    flags: str  # such as "[FN][FL][LN][IN]"


@dataclass
class Location:
    id: int
    address: int
    mapping: Mapping | None
    lines: list[Line] = field(default_factory=list)  # innermost inlined function first

    @property
    def function(self):
        """The physical function, "" when it has no name."""
        return self.lines[-1].function if self.lines else ""

    @property
    def made_up(self):
        """A frame such as [truncated: no unwind information], which is no place in the program."""
        return self.function.startswith("[")


@dataclass
class Sample:
    count: int
    ns: int
    stack: list[Location]  # leaf first
    labels: dict[str, str]
    numbers: dict[str, int]

    @property
    def functions(self):
        """All functions, inlined ones too, leaf first; "" where a name is missing. Without the targets' arithmetic, which is inlined wherever
        they burn time."""
        names = [name for place in self.stack for name in ([line.function for line in place.lines] or [""])]
        return [name for name in names if name != BURNER]

    @property
    def root(self):
        return self.stack[-1]

    @property
    def between(self):
        """CPU time that no sample caught, or another made-up entry that is not a truncated stack."""
        return len(self.stack) == 1 and self.root.made_up and not self.truncated

    @property
    def truncated(self):
        return self.root.function.startswith("[truncated")


@dataclass
class Profile:
    path: str
    comments: list[str]
    sample_types: list[str]
    period_type: str
    period: int
    time_s: float  # since the epoch
    duration_s: float
    samples: list[Sample]
    mappings: list[Mapping]

    @property
    def total_ns(self):
        return sum(sample.ns for sample in self.samples)

    @property
    def stacks(self):
        """The samples that carry a stack of the program."""
        return [sample for sample in self.samples if not sample.between]

    def share(self, chosen, of=None):
        """Share in nanoseconds of the samples for which chosen(sample) holds."""
        samples = self.samples if of is None else of
        return sum(sample.ns for sample in samples if chosen(sample)) / max(1, sum(sample.ns for sample in samples))

    def share_under(self, function):
        """Share of the samples that have `function` anywhere in their stack."""
        return self.share(lambda sample: function in sample.functions)

    def complete(self):
        """Share, by count, of the stacks that reach the thread's first frame."""
        count = sum(sample.count for sample in self.stacks)
        assert count > 0, "the profile has no stack at all"
        return sum(sample.count for sample in self.stacks if not sample.truncated) / count

    def chains(self):
        """The distinct stacks, as text, with their counts: for messages."""
        chains = {}
        for sample in self.samples:
            key = " < ".join(name or "?" for name in sample.functions[:12])
            chains[key] = chains.get(key, 0) + sample.count
        return "\n".join(f"{n:6} {chain}" for chain, n in sorted(chains.items(), key=lambda item: -item[1])[:30])


LABEL = re.compile(r"(\w+):\[(.*?)\](?= \w+:\[|\s*$)")
LOCATION = re.compile(r"^\s+(\d+): 0x([0-9a-f]+) (?:M=(\d+) )?(?:\[F\] )?(.*)$")
LINE = re.compile(r"^\s*(.*) (\S*?):(\d+)(?::\d+)? s=(-?\d+)(?:\(.*\))?\s*$")
MAPPING = re.compile(r"^(\d+): 0x([0-9a-f]+)/0x([0-9a-f]+)/0x([0-9a-f]+) (.*?) (\S*) ((?:\[\w+\])*)$")
SAMPLE = re.compile(r"^\s*(-?\d+)\s+(-?\d+): ((?:\d+ ?)*)$")
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "mins": 60.0, "hrs": 3600.0}


def _line(text):
    match = LINE.match(text)
    assert match, f"not a line of a location: {text!r}"
    return Line(match[1].strip(), match[2], int(match[3]), int(match[4]))


def _mappings(lines):
    mappings = {}
    for text in lines:
        match = MAPPING.match(text)
        assert match, f"not a mapping: {text!r}"
        start, limit, offset = (int(match[i], 16) for i in (2, 3, 4))
        mappings[int(match[1])] = Mapping(int(match[1]), start, limit, offset, match[5], match[6], match[7])
    return mappings


def _locations(lines, mappings):
    locations, place = {}, None
    for text in lines:
        match = LOCATION.match(text)
        if match:
            mapping = mappings[int(match[3])] if match[3] else None
            place = locations[int(match[1])] = Location(int(match[1]), int(match[2], 16), mapping)
            text = match[4]
        if text.strip():
            place.lines.append(_line(text))
    return locations


def _samples(lines, locations):
    samples = []
    for text in lines:
        match = SAMPLE.match(text)
        if match:
            stack = [locations[int(i)] for i in match[3].split()]
            samples.append(Sample(int(match[1]), int(match[2]), stack, {}, {}))
            continue
        for key, value in LABEL.findall(text):
            if key in ("tid", "pid"):
                samples[-1].numbers[key] = int(value.split()[0])
            else:
                samples[-1].labels[key] = value
    return samples


def _sections(raw):
    sections, name = {"": []}, ""
    for text in raw.splitlines():
        if text in ("Samples:", "Locations", "Mappings"):
            name = text.rstrip(":")
            sections[name] = []
        elif text:
            sections[name].append(text)
    return sections


def _duration(top):
    """-raw cuts the duration after four characters; -top prints it well."""
    match = re.search(r"^Duration: ([\d.]+)(\w+|µs)", top, re.M)
    return float(match[1]) * UNITS[match[2]] if match else 0.0


def _time(text):
    match = re.match(r"(\d+-\d+-\d+ \d+:\d+:\d+)(\.\d+)? ([+-]\d{4})", text)
    whole = datetime.strptime(f"{match[1]} {match[3]}", "%Y-%m-%d %H:%M:%S %z")
    return whole.astimezone(timezone.utc).timestamp() + float(match[2] or 0)


def parse(raw, top, path=""):
    sections = _sections(raw)
    head = sections[""]
    values = dict(text.split(": ", 1) for text in head if ": " in text and not text.startswith("Comment"))
    mappings = _mappings(sections.get("Mappings", []))
    locations = _locations(sections.get("Locations", []), mappings)
    samples = sections["Samples"]
    return Profile(path=str(path), comments=[text.split(": ", 1)[1] for text in head if text.startswith("Comment: ")],
                   sample_types=samples[0].replace("[dflt]", "").split(), period_type=values["PeriodType"],
                   period=int(values.get("Period", 0)), time_s=_time(values["Time"]), duration_s=_duration(top),
                   samples=_samples(samples[1:], locations), mappings=list(mappings.values()))


def locations(raw):
    """The locations of what -raw printed."""
    sections = _sections(raw)
    return list(_locations(sections.get("Locations", []), _mappings(sections.get("Mappings", []))).values())


def load(path):
    return parse(run(path, "-raw"), run(path, "-top"), path)


@dataclass
class TopLine:
    flat_percent: float
    cum_percent: float
    function: str


def top(path, *options, env=None):
    """The lines of -top, by function."""
    pattern = re.compile(r"^\s*\S+\s+([\d.]+)%\s+[\d.]+%\s+\S+\s+([\d.]+)%\s+(.*?)(?: \((?:partial-)?inline\))?$")
    lines = [pattern.match(text) for text in run(path, "-top", "-nodecount=100000", *options, env=env).splitlines()]
    return {match[3]: TopLine(float(match[1]), float(match[2]), match[3]) for match in lines if match}


def traces(path, *options):
    """The stacks that -traces prints: lists of functions, leaf first."""
    stacks, current = [], None
    for text in run(path, "-traces", *options).splitlines():
        if text.startswith("-----------+"):
            current = []
            stacks.append(current)
        elif current is not None:
            match = re.match(r"^\s*(?:-?[\d.]+\w+|0)?\s{3}(\S.*?)(?: \(inline\))?$", text)
            if match and match[1] != BURNER and not re.match(r"^\s*\w+:  ", text):
                current.append(match[1])
    return [stack for stack in stacks if stack]
