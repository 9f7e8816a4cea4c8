"""An engine process that shares: `python fleet_worker.py URL PREFIX HOST`.

It obeys lines of JSON on standard input and answers each with one: {"calls": [[partner, status, time], ..]},
{"profile": partner}, {"exchange": true}, {"stats": true}.
"""

import json
import sys

from ztmon import Config, Monitor


def main(url, prefix, host):
    monitor = Monitor(Config(redis=url, redis_prefix=prefix, host=host, hash_key=bytes(range(16)), capacity=1000, clock="events",
                             shadow=False))
    for line in sys.stdin:
        wanted = json.loads(line)
        if "calls" in wanted:
            highest = 0
            for partner, status, at in wanted["calls"]:
                decision = monitor.observe(partner, f"/a/{int(at) % 5}", status=status, latency_ms=20.0, response_bytes=500,
                                           source="192.0.2.1", timestamp=at)
                highest = max(highest, int(decision.action))
            answer = {"highest": highest}
        elif "profile" in wanted:
            profile = monitor.profile(wanted["profile"])
            answer = {"events": profile.events if profile else 0, "level": int(profile.level) if profile else 0}
        elif "exchange" in wanted:
            refused = monitor._sharing.refused
            answer = {"done": monitor._sharing.turn() and monitor._sharing.refused == refused}
        else:
            answer = monitor.stats()
        print(json.dumps(answer), flush=True)
    monitor.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
