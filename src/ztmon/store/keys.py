"""What the keys in Redis are called. P is the prefix, ID a partner's key as 16 hexadecimal digits.

    P:{ID}:parts       hash     sum, h:HOST, row, row_at      contributions, and the partner's row
    P:{ID}:history     sorted set by time                     what happened to the partner
    P:{ID}:scores      sorted set by minute                   its scores
    P:{levels}:now     hash by ID                             how partners stand
    P:{levels}:log     stream                                 whose standing changed
    P:{levels}:news    channel                                the same, at once
    P:{audit}:log      list                                   lines of the audit log
    P:{audit}:ends     hash                                   its two ends
    P:{audit}:names    hash by pseudonym                      names behind pseudonyms
    P:{audit}:of       hash by name                           pseudonyms of names
    P:{values}         hash by name                           what belongs to no partner

All keys of a partner have one hash tag, so that they are in one slot of a cluster.
"""

from dataclasses import dataclass

PARTS_SECONDS = 30 * 86400
"""After so long without a call anywhere a partner is forgotten in Redis."""


def partner_id(key: int) -> str:
    """A partner's key as text."""
    return f"{key:016x}"


@dataclass(frozen=True)
class Keys:
    """Names of keys under a prefix."""

    prefix: str

    def partner(self, identity: str, what: str) -> str:
        """A key of a partner: parts, history, scores."""
        return f"{self.prefix}:{{{identity}}}:{what}"

    def levels(self, what: str) -> str:
        """now, log, news."""
        return f"{self.prefix}:{{levels}}:{what}"

    def audit(self, what: str) -> str:
        """log, ends, names, of."""
        return f"{self.prefix}:{{audit}}:{what}"

    @property
    def values(self) -> str:
        return f"{self.prefix}:{{values}}"

    def identity(self, key: str) -> str:
        """The partner's ID in one of its keys."""
        return key[len(self.prefix) + 2 :].partition("}")[0]
