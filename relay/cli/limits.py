"""The relay's limits as options: one for each field of ``RelayLimits``, with what it bounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import click

from protocol.limits import RelayLimits

LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "retention_s": ("--retention", "How long messages are kept for those who are away."),
    "idle_close_s": ("--idle-close", "After how long without anybody attached a room is forgotten."),
    "connections": ("--connections", "Connections at one time."),
    "connections_per_identity": ("--connections-per-identity", "Connections of one identity."),
    "connections_per_address": ("--connections-per-address", "Connections from one network address."),
    "rooms_per_connection": ("--rooms-per-connection", "Rooms that one connection is attached to."),
    "rooms": ("--rooms", "Open rooms."),
    "rooms_per_founder": ("--rooms-per-founder", "Open rooms of one founder."),
    "members": ("--members", "Members of a room."),
    "statements": ("--statements", "Statements in a room's log."),
    "bytes_of_rooms": ("--bytes-of-rooms", "Bytes of all rooms' logs and cards."),
    "bytes_gathered": ("--bytes-gathered", "Bytes of logs that come back at one time, after a restart."),
    "bytes_per_sender": ("--bytes-per-sender", "Bytes of room messages kept for one sender in one room."),
    "bytes_per_room": ("--bytes-per-room", "Bytes of room messages kept in one room."),
    "bytes_of_posts": ("--bytes-of-posts", "Bytes of room messages kept in all."),
    "bytes_per_pair": ("--bytes-per-pair", "Bytes of asides kept from one sender to one recipient."),
    "bytes_of_asides": ("--bytes-of-asides", "Bytes of asides kept in all."),
    "posts_per_s": ("--posts-per-s", "Requests a second, lasting, from one identity."),
    "posts_burst": ("--posts-burst", "Requests at once from one identity."),
    "bytes_per_s": ("--bytes-per-s", "Bytes a second, lasting, from one identity."),
    "bytes_burst": ("--bytes-burst", "Bytes at once from one identity."),
    "slow_cut_s": ("--slow-cut", "After how long a connection that takes nothing is cut."),
}
"""For each field of ``RelayLimits`` its option and what it bounds."""


def parameter(option: str) -> str:
    """Return the name that click gives to an ``option``."""
    return option.removeprefix("--").replace("-", "_")


class _Number(click.IntRange):
    name = "whole number"  # what click says that a value is not


def limit_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command all of them."""
    for field in reversed(dataclasses.fields(RelayLimits)):
        option, text = LIMITS[field.name]
        seconds = field.name.endswith("_s") and not field.name.endswith("_per_s")
        function = click.option(
            option,
            type=_Number(1, 10**9),
            metavar="SECONDS" if seconds else "N",
            default=field.default,
            help=text,
        )(function)
    return function


def read_limits(options: Mapping[str, int]) -> RelayLimits:
    """Return the limits that a command with ``limit_options`` was given."""
    return RelayLimits(**{field: options[parameter(option)] for field, (option, _) in LIMITS.items()})
