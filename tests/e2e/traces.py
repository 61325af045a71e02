"""Where things may have left traces: the memory of a process, and the files of a folder.

Both are searched for bytes in every form in which they could plausibly stand there. Whoever searches for what must not
be there first shows, with the same search, that it finds what is there.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from protocol.base32 import base32

_REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+ *(.*)")
_CHUNK = 1 << 24
_OVERLAP = 1 << 10


def forms(what: str | bytes) -> set[bytes]:
    """Return how ``what`` may stand in memory or in a file: exactly, wide, in hexadecimal, in base64 and base32."""
    raw = what.encode() if isinstance(what, str) else what
    plain = {raw, raw.hex().encode(), raw.hex().upper().encode(), base32(raw).encode(), base64.b32encode(raw)}
    # A longer base64 text holds it in one of three ways, by where it begins: compare the letters it alone decides.
    for before in range(3):
        letters = base64.b64encode(bytes(before) + raw)
        whole = letters[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        plain |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    if isinstance(what, str):
        plain |= {what.encode("utf-16-le"), what.encode("utf-32-le"), what.upper().encode(), what[::-1].encode()}
    return plain


def found(what: Iterable[str | bytes], where: Iterable[bytes]) -> set[str | bytes]:
    """Return those of ``what`` that occur in ``where``, in any form."""
    by_form = {form: thing for thing in what for form in forms(thing)}
    assert all(len(form) >= 5 for form in by_form), "so short a thing is found anywhere"
    seen: set[str | bytes] = set()
    for chunk in where:
        seen |= {thing for form, thing in by_form.items() if thing not in seen and form in chunk}
    return seen


def memory(pid: int) -> Iterator[bytes]:
    """Yield all that a process has in readable memory, in pieces that overlap by a kibibyte."""
    regions = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for region in regions:
            fits = _REGION.match(region)
            if not fits or fits[3] in {"[vvar]", "[vsyscall]", "[vvar_vclock]"}:
                continue
            start, end = int(fits[1], 16), int(fits[2], 16)
            for place in range(start, end, _CHUNK):
                try:
                    mem.seek(place)
                    yield mem.read(min(_CHUNK + _OVERLAP, end - place))
                except OSError:  # gone meanwhile, or a device's
                    break


def files(*folders: Path) -> Iterator[bytes]:
    """Yield the contents of every file under ``folders``, and their names."""
    for path in itertools.chain.from_iterable(folder.rglob("*") for folder in folders):
        yield path.name.encode()
        if path.is_file():
            yield path.read_bytes()
