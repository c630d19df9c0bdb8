"""Situations in which a process can be attached to, or not: a tool with less rights, in another place."""

import ctypes
import os

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
WITHOUT_SYS_PTRACE = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
PTRACE, PROCESS_VM_READV = 101, 310


def forbidding(*calls):
    """A seccomp filter, as container runtimes have: these system calls give EPERM. For preexec_fn."""

    class Filter(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]

    steps = [Filter(0x20, 0, 0, 0),  # the call's number
             *(Filter(0x15, len(calls) - i, 0, call) for i, call in enumerate(calls)),
             Filter(0x06, 0, 0, 0x7FFF0000),  # allow
             Filter(0x06, 0, 0, 0x00050001)]  # errno EPERM
    program = Program(len(steps), (Filter * len(steps))(*steps))

    def install():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(program)) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

    return install


def landlock_abi():
    """landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION; -1 where it is not in this kernel."""
    return ctypes.CDLL(None).syscall(444, None, 0, 1)


def enter_landlock():
    """A domain of its own, which may not trace processes outside of it (landlock(7)). For preexec_fn."""
    libc = ctypes.CDLL(None, use_errno=True)
    handled = ctypes.c_uint64(1 << 12)  # LANDLOCK_ACCESS_FS_MAKE_SYM: something that nobody misses
    ruleset = libc.syscall(444, ctypes.byref(handled), 8, 0)
    if ruleset < 0 or libc.prctl(38, 1, 0, 0, 0) != 0 or libc.syscall(446, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock")
    os.close(ruleset)
