"""Writes profiles of stacks that a test chooses, byte by byte as profile.proto says: no code of this project is in it."""

import gzip
from dataclasses import dataclass

from made_profile import number, part


@dataclass(frozen=True)
class Frame:
    """One location. `inlined` are the calls in it, the innermost last."""

    name: str | bytes = ""
    file: str = ""
    line: int = 0
    start_line: int = 0
    module: str = ""
    address: int = 0
    inlined: tuple = ()


@dataclass(frozen=True)
class Sample:
    stack: tuple  # of Frame or of names, root first
    values: tuple
    labels: tuple = ()  # (key, text or number)


class _Table:
    """What is told apart by a number from 1 on."""

    def __init__(self, first=None):
        self.numbers = {} if first is None else {first: 0}
        self.first = 1 if first is None else 0

    def __getitem__(self, key):
        return self.numbers.setdefault(key, len(self.numbers) + self.first)


def _raw(text):
    return text if isinstance(text, bytes) else text.encode()


def _signed(n):
    return n & (1 << 64) - 1


def encode(types, samples, default_type="", comments=(), time_ns=0, duration_ns=0):
    """The message, not compressed. `types` are pairs of type and unit."""
    texts, functions, modules, places = _Table(b""), _Table(), _Table(), _Table()
    message = b"".join(part(1, number(1, texts[_raw(kind)]) + number(2, texts[_raw(unit)])) for kind, unit in types)
    for sample in samples:
        frames = [frame if isinstance(frame, Frame) else Frame(frame) for frame in sample.stack]
        content = b"".join(number(1, places[frame]) for frame in reversed(frames))
        content += b"".join(number(2, _signed(value)) for value in sample.values)
        for key, value in sample.labels:
            of_value = number(3, _signed(value)) if isinstance(value, int) else number(2, texts[_raw(value)])
            content += part(3, number(1, texts[_raw(key)]) + of_value)
        message += part(2, content)
    for place, i in places.numbers.items():
        content = number(1, i) + number(3, place.address)
        if place.module:
            content += number(2, modules[place.module])
        for call in [*reversed(place.inlined), place]:
            if call.name:
                content += part(4, number(1, functions[call.name, call.file, call.start_line]) + number(2, _signed(call.line)))
        message += part(4, content)
    for (name, file, start_line), i in functions.numbers.items():
        message += part(5, number(1, i) + number(2, texts[_raw(name)]) + number(4, texts[_raw(file)]) + number(5, start_line))
    for path, i in modules.numbers.items():
        message += part(3, number(1, i) + number(2, 0x1000 * i) + number(3, 0x1000 * (i + 1)) + number(5, texts[_raw(path)]))
    message += b"".join(number(13, texts[_raw(comment)]) for comment in comments)
    message += number(9, time_ns) + number(10, duration_ns) + number(14, texts[_raw(default_type)])
    return message + b"".join(part(6, text) for text in texts.numbers)


def write(path, types, samples, **more):
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(encode(types, samples, **more))
    return path
