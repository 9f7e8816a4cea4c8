"""The page of the detection benchmark."""

from math import isinf
from typing import Any

from ztmon.simulate import HAPPENINGS

HEAD = """# What is found, and who is left alone

Written by `make detection` (benchmarks/detection); do not edit. 40 simulated partners over six days at the shipped
configuration, on seeds that nothing was tuned on; [the simulator](simulate.md) says what the streams hold. *Plain*:
attacks of medium strength (0.5). *Hard*: partners of two calls an hour to ten a second with sessions, jobs, bouts of errors,
expiring tokens, rotating addresses, and innocent happenings; strengths drawn from blatant to the edge of the noticeable.

The attack on the whole fleet, which is forty attacks at once, stands in its own line and is not in the sums.
Found is an attack that leads to the level within its window; one that does not has an infinite delay. False is a rise
outside every attack's window (those in the half hour after one are counted apart). Wrong hours are those at throttle or
above outside every attack's window and the 75 minutes after it.
"""

RISKS = (
    ("API1 Broken object level authorization", "objects asked for in sequence or at random, far more new ones than usual",
     "enumeration, random_ids"),
    ("API2 Broken authentication", "failing log-ins, fast or slow; a key used from elsewhere for other things",
     "credential_stuffing, slow_stuffing, fleet, stolen_key"),
    ("API3 Broken object property level authorization", "only its volume: answers or requests larger than usual",
     "exfiltration, payloads"),
    ("API4 Unrestricted resource consumption", "rate, bytes, slow answers against the partner's own past",
     "burst, ramp, scraping, payloads"),
    ("API5 Broken function level authorization", "functions never used before, refusals on them, destructive methods",
     "privilege, deletes"),
    ("API6 Unrestricted access to sensitive business flows", "one endpoint in an unnatural rhythm", "flow_abuse"),
    ("API7 Server side request forgery", "**not seen**, but for patterns in path and query", "injection"),
    ("API8 Security misconfiguration", "who looks for it: paths that do not exist", "probing"),
    ("API9 Improper inventory management", "**not seen**: calls of old versions look like calls", ""),
    ("API10 Unsafe consumption of APIs", "**not seen**: it happens on calls that the API makes itself", ""),
)


def write(sections: dict[str, dict[str, Any]]) -> str:
    """The page as text."""
    return HEAD + overview(sections) + "".join(section(name, data) for name, data in sections.items()) + owasp()


def owasp() -> str:
    lines = ["", "## Against the OWASP API Security Top 10 (2023)", "",
             "| risk | what of it telemetry shows | attacks simulated |", "|---|---|---|"]
    return "\n".join(lines + [f"| {risk} | {shown} | {attacks} |" for risk, shown, attacks in RISKS]) + "\n"


def overview(sections: dict[str, dict[str, Any]]) -> str:
    lines = ["", "| streams | seeds | attacks | at throttle | median delay | false throttles | false alerts | wrong hours |",
             "|---|---|---|---|---|---|---|---|"]
    for name, data in sections.items():
        days, throttles, alerts = data["days"], data["throttles"].total(), data["alerts"].total()
        seeds = data["seeds"]
        lines.append(
            f"| {name} | {seeds.start}-{seeds.stop - 1} | {data['all']['n']:,} | {share(data['all']['throttle_share'])} | "
            f"{seconds(data['all']['throttle_seconds'])} | {rate(throttles, days)} | {rate(alerts, days)} | "
            f"{data['hours'] / days * 100:.1f} |")
    wanted = "| wanted: plain | | | 99 % | 20 s | 0.5 | 5 | 2 |\n| wanted: hard | | | 95 % | 60 s | 1 | 5 | 5 |"
    return "\n".join(lines) + f"\n{wanted}\n\nFalse ones and hours per 100 partner-days without an attack; " \
        "in brackets the upper end of the 95 % interval (Poisson).\n"


def section(name: str, data: dict[str, Any]) -> str:
    lines = ["", f"## {name.capitalize()} streams", "",
             f"{data['days']:,.0f} partner-days. Rises in the half hour after an attack: {data['aftermath']}.", "",
             "| attack | n | at alert | median | at throttle | median | calls until then |", "|---|---|---|---|---|---|---|"]
    for kind, found in data["kinds"].items():
        lines.append(f"| {kind} | {found['n']} | {share(found['alert_share'])} | {seconds(found['alert_seconds'])} | "
                     f"{share(found['throttle_share'])} | {seconds(found['throttle_seconds'])} | "
                     f"{'-' if isinf(found['throttle_events']) else format(found['throttle_events'], ',.0f')} |")
    if data["throttles"] or data["alerts"]:
        lines += ["", "| innocent cause | false throttles | false alerts |", "|---|---|---|"]
        for cause in ("calm", *HAPPENINGS):
            if data["throttles"][cause] or data["alerts"][cause]:
                lines.append(f"| {cause.replace('_', ' ')} | {data['throttles'][cause]} | {data['alerts'][cause]} |")
    if any(data["peers"].values()):
        lines += ["", f"Others on the first {data['peers_on']} of these seeds, scored by the minute, each at the threshold "
                  "that is best in hindsight:", "", "| | found | median delay | false episodes per 100 partner-days |",
                  "|---|---|---|---|"]
        for peer, answer in data["peers"].items():
            if answer:
                lines.append(f"| {peer} | {share(answer['found'])} | {seconds(answer['median'])} | {answer['false']:.1f} |")
    return "\n".join(lines) + "\n"


def share(x: float) -> str:
    return f"{x * 100:.1f} %" if x < 1 else "100 %"


def seconds(x: float) -> str:
    return "never" if isinf(x) else f"{x:,.0f} s"


def rate(count: int, days: float) -> str:
    """Per 100 days, with the upper end of its 95 % interval (Poisson; Byar's approximation)."""
    n = count + 1
    most = n * (1 - 1 / (9 * n) + 1.96 / (3 * n**0.5)) ** 3
    return f"{count / days * 100:.2f} ({most / days * 100:.2f})"
