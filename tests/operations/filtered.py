"""Runs a command under a unit's system call filter: ``python filtered.py UNIT COMMAND …``; it is run as a script.

systemd is not needed to run a process the way it does: the filter is built with libseccomp, which it uses too, from the
names that systemd-analyze gives for its sets. A call that the unit forbids kills the process, where systemd would only
refuse it, so that no use of one goes unnoticed.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

ALLOW, KILL = 0x7FFF0000, 0x80000000
MASKED_EQUAL = 7


class Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def names(sets: list[str]) -> set[str]:
    """Return the system calls of sets like ``@system-service`` and of those that they name in turn."""
    found = {name for name in sets if not name.startswith("@")}
    for name in set(sets) - found:
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
        words = [line.strip() for line in listed.stdout.splitlines()[1:]]
        found |= names([word for word in words if word and not word.startswith("#")])
    return found


def allowed(unit: str) -> set[str]:
    """Return what the ``SystemCallFilter`` lines of a unit leave."""
    left = names(["@default"])
    for line in unit.splitlines():
        key, _, value = line.partition("=")
        if key == "SystemCallFilter":
            left = left - names(value[1:].split()) if value.startswith("~") else left | names(value.split())
    return left


def confine(unit: str) -> None:
    """Leave this process, for good, only what the unit leaves."""
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(KILL)))
    executes = {"mmap": 2, "mprotect": 2, "pkey_mprotect": 2, "shmat": 2}
    assert "MemoryDenyWriteExecute=yes\n" in unit
    for name in allowed(unit) | {"execve"}:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # a call of another architecture
        rules: list[list[Comparison]] = [[]]
        if name == "mmap":  # writable, or executable, or neither
            mask = mmap.PROT_WRITE | mmap.PROT_EXEC
            rules = [[Comparison(2, MASKED_EQUAL, mask, value)] for value in (0, mmap.PROT_WRITE, mmap.PROT_EXEC)]
        elif name in executes:
            rules = [[Comparison(2, MASKED_EQUAL, mmap.PROT_EXEC, 0)]]
        for rule in rules:
            array = (Comparison * len(rule))(*rule)
            added = seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(rule), array)
            assert added == 0, (name, added)
    assert seccomp.seccomp_load(context) == 0


if __name__ == "__main__":
    confine(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.execv(sys.argv[2], sys.argv[2:])
