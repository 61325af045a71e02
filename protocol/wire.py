"""Bounded msgpack: one array of known shape in, typed values out, and ``Malformed`` for everything else.

Everything that parses outside bytes goes through here, so that depth, length, type and trailing bytes are checked in
one place. Only arrays, byte strings, text, integers, booleans and nil exist on our wire: no maps, floats or
extensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgpack

from protocol import limits
from protocol.errors import Malformed, TooLarge

T = TypeVar("T")
Check = Callable[[object], T]

_PACK = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_DAMAGED = (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError)


_BOUNDS: Final[dict[str, object]] = {
    "use_list": False,
    "raw": False,
    "strict_map_key": True,
    "max_array_len": limits.FRAME_ENVELOPES,
    "max_map_len": 0,
    "max_ext_len": 0,
    "max_bin_len": limits.FRAME,
    "max_str_len": limits.FRAME,
}


def pack(*values: object) -> bytes:
    """Encode ``values`` as one msgpack array."""
    packed: bytes = _PACK(values)
    return packed


def unpack(data: bytes, most: int) -> tuple[object, ...]:
    """Decode ``data``, at most ``most`` bytes, as exactly one array; raise ``Malformed`` or ``TooLarge``."""
    if len(data) > most:
        raise TooLarge
    arrays = list(unpack_all(data, most))
    if len(arrays) != 1:
        raise Malformed("not one array")
    if not _shallow(arrays[0], limits.DEPTH):
        raise Malformed("too deep")
    return arrays[0]


def unpack_all(data: bytes, most: int, each: int | None = None) -> Iterator[tuple[object, ...]]:
    """Yield the arrays that stand back to back in ``data``, at most ``most`` bytes, and at most ``each`` in one array.

    Raise ``Malformed`` at the first byte that is not part of a whole array, after having yielded what stood before it,
    and ``TooLarge`` at an array that is longer than it may be. How deep each is nested is left to the checks of its
    fields, of which none takes an array within an array.
    """
    if len(data) > most:
        raise TooLarge
    try:
        alone = msgpack.unpackb(data, **_BOUNDS)
    except msgpack.ExtraData:  # a reader of its own is worth its making only where there are several
        return _unpack_several(data, each or most)
    except _DAMAGED as error:
        raise Malformed(type(error).__name__) from None
    if each and len(data) > each:
        raise TooLarge
    if type(alone) is not tuple:
        raise Malformed("not an array")
    return iter((alone,))


def _unpack_several(data: bytes, each: int) -> Iterator[tuple[object, ...]]:
    unpacker = msgpack.Unpacker(None, max_buffer_size=len(data), **_BOUNDS)
    unpacker.feed(data)
    place, end = 0, len(data)
    try:
        while place < end:
            value = unpacker.unpack()
            begun, place = place, unpacker.tell()
            if place - begun > each:
                raise TooLarge
            if type(value) is not tuple:
                raise Malformed("not an array")
            yield value
    except _DAMAGED as error:
        raise Malformed(type(error).__name__) from None


def _shallow(value: tuple[object, ...], depth: int) -> bool:
    return depth > 0 and all(type(item) is not tuple or _shallow(item, depth - 1) for item in value)


# -- checks of one value ----------------------------------------------------------------------------------------------


def exactly(size: int) -> Check[bytes]:
    """Return a check for a byte string of ``size`` bytes."""

    def check(value: object) -> bytes:
        if type(value) is bytes and len(value) == size:
            return value
        raise Malformed(f"not {size} bytes")

    return check


def upto(size: int) -> Check[bytes]:
    """Return a check for a byte string of at most ``size`` bytes."""

    def check(value: object) -> bytes:
        if type(value) is bytes and len(value) <= size:
            return value
        raise Malformed(f"not at most {size} bytes")

    return check


def text(size: int) -> Check[str]:
    """Return a check for a text of at most ``size`` bytes of UTF-8."""

    def check(value: object) -> str:
        if type(value) is str and len(value.encode("utf-8", "surrogatepass")) <= size:
            return value
        raise Malformed(f"not a text of at most {size} bytes")

    return check


def number(below: int, least: int = 0) -> Check[int]:
    """Return a check for an integer from ``least`` to ``below`` - 1."""

    def check(value: object) -> int:
        if type(value) is int and least <= value < below:
            return value
        raise Malformed("a number out of range")

    return check


def boolean(value: object) -> bool:
    """Check a boolean."""
    if type(value) is bool:
        return value
    raise Malformed("not a boolean")


def optional(inner: Check[T]) -> Check[T | None]:
    """Return a check for nil or what ``inner`` accepts."""

    def check(value: object) -> T | None:
        return None if value is None else inner(value)

    return check


def several(inner: Check[T], most: int) -> Check[tuple[T, ...]]:
    """Return a check for an array of at most ``most`` values that ``inner`` accepts."""

    def check(value: object) -> tuple[T, ...]:
        if type(value) is tuple and len(value) <= most:
            return tuple(inner(item) for item in value)
        raise Malformed(f"not an array of at most {most}")

    return check


def fields(values: tuple[object, ...], checks: tuple[Check[object], ...]) -> tuple[object, ...]:
    """Check each of ``values`` by the check at its place; raise ``Malformed`` when one, or their number, is wrong."""
    if len(values) != len(checks):
        raise Malformed(f"{len(values)} fields instead of {len(checks)}")
    for check, value in zip(checks, values, strict=True):
        check(value)
    return values
