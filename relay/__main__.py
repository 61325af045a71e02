"""Where the command `backchannel-relay` (and `python -m relay`) begins. Before anything else is imported it makes sure
that the top-level package `protocol` is Backchannel's own: other distributions install one of that name, and
running on theirs would end in a riddle. It does nothing else; `relay.cli` is the program."""

import sys


def foreign_protocol() -> str | None:
    """Return where a package `protocol` lies that is not ours, or None if all is well."""
    try:
        import protocol  # noqa: PLC0415  - imported here to be looked at before anyone relies on it
    except ImportError as error:
        return f"nowhere to be imported from ({error})"
    if getattr(protocol, "DISTRIBUTION", None) == "backchannel":
        return None
    return getattr(protocol, "__file__", None) or ", ".join(getattr(protocol, "__path__", ["?"]))


def main() -> None:
    """Run the command, or end with exit code 1 and one sentence if the installation is mixed up."""
    if found := foreign_protocol():
        sys.exit(
            f"backchannel-relay: the package 'protocol' is not Backchannel's but {found}; install Backchannel by itself, "
            "with 'pipx install backchannel', 'uv tool install backchannel' or in a venv of its own"
        )
    from relay.cli import main as cli  # noqa: PLC0415  - see above

    cli()


if __name__ == "__main__":
    main()
