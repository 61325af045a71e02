"""Where the command `backchannel-relay` (and `python -m relay`) begins.

Before anything else it makes sure that the top-level package `protocol` is Backchannel's own: other
distributions install one of that name, and running on theirs would end in a riddle. The command itself is
`relay.cli`, imported only after that. `peer.__main__` does the same in as many words: the two share no module
that could be trusted to be ours.
"""

import sys


def foreign_protocol() -> str | None:
    """Return where the package `protocol` comes from if it is not ours, else None."""
    try:
        import protocol  # noqa: PLC0415 - looked at here, before anyone relies on it
    except Exception as error:  # noqa: BLE001 - a stranger's code may fail in any way
        return f"one that cannot be imported ({type(error).__name__}: {error})"
    if getattr(protocol, "DISTRIBUTION", None) == "backchannel":
        return None
    return protocol.__file__ or ", ".join(protocol.__path__)


def main() -> None:
    """Run the command, or exit with code 1 and one sentence if the installation is mixed up.

    Ctrl-C ends it in silence, with 130, until the command is there to stop a relay as it should be stopped.
    """
    try:
        if found := foreign_protocol():
            sys.exit(
                f"backchannel-relay: the package 'protocol' of this Python is not Backchannel's own but {found}. "
                "Install Backchannel by itself: with pipx, with 'uv tool', or in a venv of its own."
            )
        from relay.cli import main as command  # noqa: PLC0415 - it imports `protocol`

        command()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
