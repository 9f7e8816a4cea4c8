"""The five levels, and the names of what raises and lowers them."""

from enum import IntEnum


class Action(IntEnum):
    """What a partner's level asks the caller to do."""

    MONITOR = 0
    ALERT = 1
    THROTTLE = 2
    QUARANTINE = 3
    BLOCK = 4


ACTIONS = tuple(Action)

SIGNALS = (
    "auth_failures",
    "client_errors",
    "server_errors",
    "new_endpoints",
    "large_requests",
    "large_responses",
    "slow_responses",
    "new_sources",
    "sequential_ids",
    "suspicious_patterns",
    "new_source_and_endpoint",
    "destructive_method",
    "errors_on_new_endpoints",
    "new_ids",
    "unusual_hour",
    "custom_1",
    "custom_2",
    "endpoint_focus",
    "rate_ramp",
    "request_rate",
    "bytes_out",
    "ceiling_request_rate",
    "ceiling_error_rate",
    "ceiling_response_time",
)

CUSTOM = ("custom_1", "custom_2")
"""Where the user's own signals stand among them."""

CAUSES = {24: "pin", 25: "restore", 26: "fall", 27: "expiry", 28: "reauthenticated", 29: "setting"}

HALF_LIVES = (60.0, 600.0, 5400.0, 1800.0)
"""Seconds, by lane."""
