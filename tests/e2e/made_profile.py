"""Writes profiles of addresses that a test chooses, byte by byte as profile.proto says: no code of this project is in it."""

import gzip
import re
import subprocess


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def number(field, n):
    return _varint(field << 3) + _varint(n)


def part(field, content):
    return _varint(field << 3 | 2) + _varint(len(content)) + content


BIAS = 0x100000000


def write(path, program, addresses, ran_as=None):
    """One location for each link-time address in the program, as if it had run at BIAS under the name `ran_as`."""
    readelf = subprocess.run(["readelf", "-nlW", program], capture_output=True, text=True, check=True).stdout
    build_id = re.search(r"Build ID: (\w+)", readelf)[1]
    segment = re.search(r"LOAD\s+(0x\w+) (0x\w+) 0x\w+ 0x\w+ (0x\w+) R E", readelf)
    offset, vaddr, size = (int(word, 16) for word in segment.groups())
    first, end, page = vaddr - vaddr % 4096, (vaddr + size + 4095) // 4096 * 4096, offset - offset % 4096
    strings = ["", "samples", "count", str(ran_as or program), build_id]
    message = part(1, number(1, 1) + number(2, 2)) + b"".join(part(6, text.encode()) for text in strings)
    message += part(3, number(1, 1) + number(2, BIAS + first) + number(3, BIAS + end) + number(4, page) + number(5, 3) + number(6, 4))
    for i, address in enumerate(addresses, 1):
        message += part(4, number(1, i) + number(2, 1) + number(3, BIAS + address)) + part(2, number(1, i) + number(2, 1))
    with gzip.open(path, "wb") as file:
        file.write(message)


def section(program, name):
    """(address, size)"""
    text = subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout
    words = re.search(rf"\] {re.escape(name)} +\w+ +(\w+) \w+ (\w+)", text)
    return int(words[1], 16), int(words[2], 16)
