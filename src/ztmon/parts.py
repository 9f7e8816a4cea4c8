"""The parts of a monitor by their documented names: views of the same object, nothing of their own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ztcore.decision import Decision

if TYPE_CHECKING:
    from ztmon.monitor import Monitor
    from ztmon.profile import Profile


class Part:
    """Holds on to the monitor."""

    def __init__(self, monitor: "Monitor") -> None:
        self._monitor = monitor


class Collector(Part):
    """Where events go in."""

    def observe(self, *args: Any, **named: Any) -> Decision:
        """Monitor.observe()."""
        return self._monitor.observe(*args, **named)

    def stats(self) -> dict[str, int]:
        """Monitor.stats()."""
        return self._monitor.stats()


class Features(Part):
    """What is known of partners."""

    def get_profile(self, partner: str, app: str = "default") -> "Profile | None":
        """Monitor.profile()."""
        return self._monitor.profile(partner, app=app)


class Baselines(Features):
    """What is usual for partners."""

    def partners(self) -> "list[Profile]":
        """Monitor.partners()."""
        return self._monitor.partners()


class Throttle(Part):
    """What is done about partners."""

    def check(self, partner: str, app: str = "default") -> Decision:
        """Monitor.check()."""
        return self._monitor.check(partner, app)

    def restore_partner(self, partner: str, reason: str = "", app: str = "default", false_positive: bool = False) -> bool:
        """Monitor.restore()."""
        return self._monitor.restore(partner, reason=reason, app=app, false_positive=false_positive)

    def on_alert(self, callback: Callable[[Any], object]) -> Callable[[Any], object]:
        """Monitor.on_alert()."""
        return self._monitor.on_alert(callback)
