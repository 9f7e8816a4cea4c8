"""Names for clients, drawn anew for each replay: nobody can go back from one to an address.

The engine's own key is always the same in a replay, so that the same log gives the same verdicts.
"""

import os
from hashlib import blake2b

KEY = b"ztmon replays it"
"""The engine's hash key unless the configuration has one."""

SECRET = os.urandom(16)


def pseudonym(address: str) -> str:
    """A name for an address."""
    return "client-" + blake2b(address.encode("utf-8", "replace"), key=SECRET, digest_size=4).hexdigest()
