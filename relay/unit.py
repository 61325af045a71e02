"""The systemd units of a relay, for the machine's service manager and for a user's own.

They differ in what a manager may do. The machine's gives the service a user that exists while it runs, hands it the
key as a credential and shows it an empty, read-only world; a user's manager has no right to most of that, and runs the
relay as the user, without the system calls that a relay does not make.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

NAME: Final = "backchannel-relay.service"
_MARK: Final = "# Written by `backchannel-relay install-service`; changes belong into a drop-in (systemctl edit). "
_HIDDEN: Final = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - nothing is put there
"""What the machine's service doesn't see."""

SYSTEM: Final = """\
[Unit]
Description=Backchannel relay, which forwards end-to-end encrypted messages and can read none of them
Wants=network-online.target
After=network-online.target
# Rooms come back from their members after a restart, so restarting never is in vain.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=@COMMAND@ run
# Every option of `run`, as BACKCHANNEL_RELAY_BIND=192.168.1.5:7667 for instance.
EnvironmentFile=-@HOME@/environment
LoadCredential=relay.key:@HOME@/relay.key
ExecReload=kill -HUP $MAINPID
Restart=always
RestartSec=500ms
# What is wrong with the settings or the key isn't better the next time.
RestartPreventExitStatus=2 8
# The loop that forwards messages says once a second that it turns.
WatchdogSec=20s
TimeoutStartSec=30s
TimeoutStopSec=10s

# What it may use: a little more than the default limits let it grow to, which it says when it starts.
# Swap is a disk, and nothing of a member goes to a disk.
MemoryMax=8G
MemorySwapMax=0
TasksMax=64
LimitNOFILE=16384
LimitCORE=0

# Who it is: somebody new at each start, who owns nothing.
DynamicUser=yes
PrivateUsers=yes
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
UMask=0077
KeyringMode=private

# What it sees.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RemoveIPC=yes
PrivateIPC=yes
PrivateMounts=yes

# What it can ask of the kernel. AF_NETLINK lists the network's interfaces.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# libzmq sets its threads' policy to the one that they have, and aborts if it may not.
SystemCallFilter=sched_setscheduler
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

USER: Final = """\
[Unit]
Description=Backchannel relay, which forwards end-to-end encrypted messages and can read none of them
# Rooms come back from their members after a restart, so restarting never is in vain.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=@COMMAND@ run --home @HOME@
# Every option of `run`, as BACKCHANNEL_RELAY_BIND=192.168.1.5:7667 for instance.
EnvironmentFile=-@HOME@/environment
ExecReload=kill -HUP $MAINPID
Restart=always
RestartSec=500ms
# What is wrong with the settings or the key isn't better the next time.
RestartPreventExitStatus=2 8
# The loop that forwards messages says once a second that it turns.
WatchdogSec=20s
TimeoutStartSec=30s
TimeoutStopSec=10s

# What it may use: a little more than the default limits let it grow to, which it says when it starts.
# Swap is a disk, and nothing of a member goes to a disk.
MemoryMax=8G
MemorySwapMax=0
TasksMax=64
LimitCORE=0

# What it can ask of the kernel. AF_NETLINK lists the network's interfaces.
NoNewPrivileges=yes
UMask=0077
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# libzmq sets its threads' policy to the one that they have, and aborts if it may not.
SystemCallFilter=sched_setscheduler
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""


def render(template: str, command: Path, home: Path) -> str:
    """Return the unit that starts ``command`` with the key in ``home``, marked as ours."""
    unit = template.replace("@COMMAND@", _argument(command)).replace("--home @HOME@", f"--home {_argument(home)}")
    unit = unit.replace("@HOME@", _path(home))
    return f"{_MARK}{_digest(unit)}\n{unit}"


def is_ours(text: str) -> bool:
    """Say whether a unit was written by ``render`` and not changed since."""
    first, _, unit = text.partition("\n")
    return first == f"{_MARK}{_digest(unit)}"


def hidden(path: Path) -> bool:
    """Say whether the machine's service, which sees no homes and no temporary files, could not run ``path``."""
    return any(place.is_relative_to(folder) for place in (path.absolute(), path.resolve()) for folder in _HIDDEN)


def _digest(unit: str) -> str:
    return hashlib.blake2b(unit.encode(), digest_size=8).hexdigest()


def _argument(path: Path) -> str:
    """Return a path as a word of a command line in a unit (systemd.service(5))."""
    word = str(path).replace("%", "%%").replace("$", "$$")
    if any(c in word for c in " \t'\"\\;"):
        word = '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return word


def _path(path: Path) -> str:
    """Return a path as the whole value of a setting."""
    return str(path).replace("%", "%%")
