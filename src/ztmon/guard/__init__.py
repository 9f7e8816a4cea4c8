"""What every web framework's adapter has in common: who calls, may it, how went it.

    guard.py     Guard: before a request and after it, errors of its own, what is said at the start
    callers.py   who calls: the application's word, certificate, API key, verified token, trusted proxy, address
    rules.py     settings of single routes
    refusal.py   a Decision as status, headers and problem+json
    remote.py    a gateway in place of a Monitor; held.py: one of its decisions, as it is kept here
"""

from ztmon.guard.guard import Guard
from ztmon.guard.rules import HEALTH, Rule

__all__ = ["HEALTH", "Guard", "Rule"]
