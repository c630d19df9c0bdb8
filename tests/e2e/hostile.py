"""Programs whose ELF and DWARF were made to hurt the reader, built on the spot: each runs victim() all the time."""

import os
import shutil
import struct
import subprocess
import zlib

PROGRAM = """
#include <unistd.h>
extern void victim(void);
int main(void)
{
	(void)!write(1, "ready\\n", 6);
	for (;;)
		victim();
}
"""

# 4,000 pieces of code of 8 bytes, so that each sample meets another one.
PIECES, PIECE_BYTES = 4000, 8
CODE = f"""
	.section .note.GNU-stack,"",@progbits
	.text
	.globl victim
	.type victim,@function
victim:
	.cfi_startproc
	.rept {PIECES - 1}
	imul %rdi, %rdi
	imul %rdi, %rdi
	.endr
	ret
	.cfi_endproc
victim_end:
	.size victim, victim_end - victim
"""

ABBREVIATIONS = """
	.section .debug_abbrev,"",@progbits
	.byte 1,0x11,1, 0x11,1, 0x12,7, 0,0		# unit: low_pc, high_pc
	.byte 2,0x2e,1, 3,8, 0x11,1, 0x12,7, 0,0	# subprogram: name, low_pc, high_pc
	.byte 3,0x0b,1, 0,0				# lexical block
	.byte 4,0x11,1, 0x11,1, 0x12,7, 0x10,0x17, 0,0	# unit with lines: low_pc, high_pc, stmt_list
	.byte 5,0x3c,1, 0,0				# partial unit
	.byte 6,0x3d,0, 0x18,0x10, 0,0			# imported unit: import
	.byte 0
	.section .debug_info,"",@progbits
"""


def unit(name, *content, version=4):
    """One unit of .debug_info with its length and header."""
    return "\n".join([f"{name}:\n\t.long {name}_end - {name}_begin\n{name}_begin:\n\t.value {version}\n\t.long 0\n\t.byte 8", *content,
                      f"{name}_end:\n"])


def deep_nesting(levels=400_000):
    """A function with blocks inside of blocks: a reader that recurses overflows its stack."""
    return ABBREVIATIONS + unit("u", "\t.byte 1\n\t.quad victim, victim_end - victim",
                                "\t.byte 2\n\t.asciz \"deep\"\n\t.quad victim, victim_end - victim",
                                f"\t.rept {levels}\n\t.byte 3\n\t.endr\n\t.rept {levels + 2}\n\t.byte 0\n\t.endr")


def imported_doubling(levels=64):
    """Each unit imports the next one twice: 2^64 ways lead to the last."""
    parts = [unit("u", "\t.byte 1\n\t.quad victim, victim_end - victim",
                  "\t.byte 2\n\t.asciz \"doubled\"\n\t.quad victim, victim_end - victim",
                  "\t.byte 6\n\t.long p0 - .debug_info\n" * 2, "\t.byte 0, 0")]
    for i in range(levels):
        after = f"\t.byte 6\n\t.long p{i + 1} - .debug_info\n" * 2 if i + 1 < levels else ""
        parts.append(unit(f"p{i}", "\t.byte 5", after, "\t.byte 0"))
    # The addresses of labels in .debug_info are offsets in it, since the section has the address 0.
    return ABBREVIATIONS + "".join(parts).replace(" - .debug_info", "")


def endless_lines(program_bytes=32_000_000):
    """Each piece of code in a unit of its own, and the units share one line program that never comes to an end."""
    units = "".join(unit(f"u{i}", f"\t.byte 4\n\t.quad victim + {i * PIECE_BYTES}, {PIECE_BYTES}\n\t.long line_table")
                    for i in range(PIECES))
    lines = f"""
	.section .debug_line,"",@progbits
line_table:
	.long line_end - line_begin
line_begin:
	.value 4
	.long header_end - header_begin
header_begin:
	.byte 1, 1, 1, -5, 14, 13
	.byte 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1
	.byte 0
	.asciz "endless.c"
	.byte 0, 0, 0, 0
header_end:
	.byte 0, 9, 2
	.quad victim
	.fill {program_bytes}, 1, 0x01	# DW_LNS_copy: the same row again
	.byte 2, 1
	.byte 0, 1, 1
line_end:
"""
    return ABBREVIATIONS + units + lines


def plain():
    return ABBREVIATIONS + unit("u", "\t.byte 1\n\t.quad victim, victim_end - victim",
                                "\t.byte 2\n\t.asciz \"plain\"\n\t.quad victim, victim_end - victim", "\t.byte 0, 0")


def build(folder, name, debug, *flags):
    """The path of a program with this debug information (text for the assembler)."""
    path = os.path.join(folder, name)
    with open(path + ".c", "w") as file:
        file.write(PROGRAM)
    with open(path + ".s", "w") as file:
        file.write(CODE + debug)
    subprocess.run(["gcc", "-O1", *flags, "-o", path, path + ".c", path + ".s"], check=True, capture_output=True)
    return path


class Elf:
    """A file whose header and sections can be read and overwritten."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.bytes = bytearray(file.read())
        self.table, = struct.unpack_from("<Q", self.bytes, 0x28)
        self.count, names = struct.unpack_from("<HH", self.bytes, 0x3c)
        self.names_at = self.header(names)[4]

    def header(self, i):
        """name, type, flags, address, offset, size, link, info, alignment, entry size"""
        return struct.unpack_from("<IIQQQQIIQQ", self.bytes, self.table + 64 * i)

    def index(self, name):
        for i in range(self.count):
            at = self.names_at + self.header(i)[0]
            if self.bytes[at:self.bytes.index(0, at)].decode() == name:
                return i
        raise KeyError(name)

    def content(self, name):
        header = self.header(self.index(name))
        return header[4], header[5]

    def set_header(self, i, **fields):
        at = {"flags": (8, "<Q"), "offset": (24, "<Q"), "size": (32, "<Q")}
        for key, value in fields.items():
            struct.pack_into(at[key][1], self.bytes, self.table + 64 * i + at[key][0], value)

    def save(self):
        with open(self.path, "wb") as file:
            file.write(self.bytes)
        os.chmod(self.path, 0o755)
        return self.path


def zip_bomb(folder, claims_bytes, inflates_to_bytes):
    """.debug_info compressed, with a header that claims one size and data that has another."""
    elf = Elf(build(folder, f"bomb{claims_bytes}", plain()))
    squeeze = zlib.compressobj(9)
    data = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(inflates_to_bytes >> 20)) + squeeze.flush()
    i = elf.index(".debug_info")
    content = struct.pack("<IIQQ", 1, 0, claims_bytes, 1) + data
    elf.set_header(i, flags=0x800, offset=len(elf.bytes), size=len(content))
    elf.bytes += content
    return elf.save()


def many_sections(folder, count):
    """The number of sections stands in section 0, and is what a 64-bit field can hold."""
    elf = Elf(build(folder, f"sections{count}", plain()))
    struct.pack_into("<H", elf.bytes, 0x3c, 0)
    elf.set_header(0, size=count)
    return elf.save()


def with_eh_frame(folder, name, change):
    """`change(bytes)` gives what is put in place of .eh_frame, of the same length."""
    elf = Elf(build(folder, name, plain()))
    offset, size = elf.content(".eh_frame")
    changed = change(bytes(elf.bytes[offset:offset + size]))
    assert len(changed) == size
    elf.bytes[offset:offset + size] = changed
    return elf.save()


def copy(path, to):
    shutil.copy(path, to)
    return to
