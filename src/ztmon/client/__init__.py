"""Telemetry to a gateway from any Python program: TelemetryClient.

    client.py      what the caller touches: a bounded buffer, a thread, fork and exit
    transport.py   what the thread does: packed batches by UDP, or JSON by HTTP with retries
"""

from ztmon.client.client import TelemetryClient
from ztmon.client.transport import ClientError

__all__ = ["ClientError", "TelemetryClient"]
