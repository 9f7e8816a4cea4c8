"""Zero-trust API monitoring: learns what is normal for each partner and acts on what is not.

    monitor = ztmon.Monitor()
    decision = monitor.observe("acme", "/api/users", method="GET", status=200, latency_ms=45.0)
    decision.action, decision.score, decision.reasons
"""

from typing import TYPE_CHECKING, Any

import ztcore.decision  # noqa: F401  first: in a subinterpreter the core says what is wrong
from ztcore.custom import Signal, signal
from ztcore.decision import Decision
from ztcore.levels import Action
from ztcore.reason import Reason
from ztmon.config import Config, Thresholds
from ztmon.errors import ConfigError, InputError, ZtmonError
from ztmon.gateway.settings import GatewayConfig
from ztmon.monitor import Monitor
from ztmon.profile import Profile

if TYPE_CHECKING:
    from ztmon.gateway.app import Gateway

__all__ = [
    "Action",
    "Config",
    "ConfigError",
    "Decision",
    "Gateway",
    "GatewayConfig",
    "InputError",
    "Monitor",
    "Profile",
    "Reason",
    "Signal",
    "Thresholds",
    "ZtmonError",
    "__version__",
    "signal",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Gateway":       # what it needs is imported by who asks for it
        from ztmon.gateway.app import Gateway

        return Gateway
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
