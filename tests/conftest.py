"""What every test shares: the profiles of hypothesis, signals that end what they start, and a LAN that is not asked.

`ci` draws the same examples at every run, so that a red CI is red at the desk too; `dev` looks for new ones;
`fuzz` looks for long.
"""

import os
import signal

import coverage
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.register_profile("fuzz", parent=settings.get_profile("dev"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

os.environ["BACKCHANNEL_MDNS"] = "off"

# Under nohup, or behind an &, children would inherit that these are ignored; ours obey that, and would never end.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down at once what a worker has covered: on a busy machine it is killed before it does so by itself."""
    measured = coverage.Coverage.current()
    if measured is not None and hasattr(session.config, "workerinput"):
        measured.save()
