"""What a relay and a peer must agree on, and nothing else: no socket, no file, no clock, no terminal.

Import the modules, not this package: it is kept empty so that a command that needs only an address does not pay for
the cryptography. ``DISTRIBUTION`` lets the programs notice when another distribution's ``protocol`` shadows this one.
"""

DISTRIBUTION = "backchannel"
RELEASE = "0.1.0"
"""Version of the programs. The package's metadata take it from here: to look it up there reads the README as well."""
VERSION = 1
"""Version of the wire protocol. HELLO carries it; a relay refuses another one with ``version``."""
