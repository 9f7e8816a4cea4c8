"""Monitors that share through a real Redis, each as a host of its own, and what they must come to agree on."""

import itertools

from ztmon import Config, Monitor

from .servers import until

KEY = bytes(range(16))
_prefixes = itertools.count()


def prefix():
    """One that no other test has."""
    return f"fleet-{next(_prefixes)}"


class Fleet:
    """So many hosts. `settings` go to each of them."""

    def __init__(self, url, n=3, **settings):
        self.url = url
        self.settings = {"redis_prefix": prefix(), "capacity": 1000, "hash_key": KEY, **settings}
        self.hosts = [self.join(f"host-{i}", listed=False) for i in range(n)]

    def join(self, name, listed=True, url=None, **settings):
        """One host more."""
        monitor = Monitor(Config(redis=url or self.url, host=name, **{**self.settings, **settings}))
        if listed:
            self.hosts.append(monitor)
        return monitor

    def agree(self, partner, events):
        """Wait until every host knows of so many calls of a partner, wherever they came."""
        def seen():
            profiles = [monitor.profile(partner) for monitor in self.hosts]
            return all(profile is not None and profile.events == events for profile in profiles)
        until(seen, f"{events} calls of {partner}, at all hosts")

    def all(self, condition, what):
        """Wait until something holds for every host."""
        until(lambda: all(condition(monitor) for monitor in self.hosts), what)

    def stat(self, name):
        return [monitor.stats()[name] for monitor in self.hosts]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for monitor in self.hosts:
            monitor.close()


def send(fleet, n, partners=("acme",), first=0):
    """n calls, in turn over hosts and partners; how many each partner got."""
    for i in range(first, first + n):
        fleet.hosts[i % len(fleet.hosts)].observe(partners[i // len(fleet.hosts) % len(partners)], f"/a/{i % 3}", latency_ms=5.0)
    return {partner: sum(1 for i in range(first, first + n) if partners[i // len(fleet.hosts) % len(partners)] == partner)
            for partner in partners}
