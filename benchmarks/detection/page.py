"""The page of the detection benchmark."""

from math import isinf
from typing import Any

from ztmon.simulate import HAPPENINGS
from ztmon.simulate.happenings import BACKEND

from .budgets import YEAR_DAYS

LEVELS = ("alert", "throttle", "quarantine", "block")

TUNED = "1-16, 101-116, 301-316, 401-432, 501-516, 601-624, 713-736 and 833-844"
HEAD = f"""# What is found, and who is left alone

Written by `make detection` (benchmarks/detection); do not edit. 40 simulated partners over six days at the shipped
configuration, on seeds that nothing was tuned on (that was done on {TUNED}); [the simulator](simulate.md)
says what the streams hold. *Plain*: attacks of medium strength (0.5). *Hard*: partners of two calls an hour to ten a second with
sessions, jobs, bouts of errors, expiring tokens, rotating addresses, and innocent happenings; strengths drawn from blatant to
the edge of the noticeable. *Real shapes*: the same, the partners' rates following the real series of below, ten minutes a step:
harsher than any partner, for some of them are silent for days and then call at fifty times their mean.

The attack on the whole fleet, which is forty attacks at once, stands in its own line and is not in the sums.
Found is an attack that leads to the level within its window; one that does not has an infinite delay. False is a rise
outside every attack's window (those in the half hour after one are counted apart). Wrong hours are those at throttle or
above outside every attack's window and the 75 minutes after it. A throttle is *because* of the backend where the same stream,
call by call, but without the backend's trouble has no throttle of that partner within an hour of it.
"""

WANTED = {"plain": (0.99, 20, 0.5, 5, 2), "hard": (0.95, 60, 1, 5, 5)}
"""At throttle at least, then at most of COLUMNS."""
COLUMNS = ("median delay in s", "false throttles", "false alerts", "wrong hours")

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


def write(sections: dict[str, dict[str, Any]], budgets: list[Any], budget_seeds: range,
          series: list[Any]) -> str:
    """The page as text."""
    return (HEAD + overview(sections) + "".join(section(name, data) for name, data in sections.items())
            + budget(budgets, budget_seeds) + real(series) + owasp())


def budget(budgets: list[Any], seeds: range) -> str:
    if not budgets:
        return ""
    days = budgets[0].days
    lines = ["", "## The budget", "",
             "`false_throttles_per_partner_year` sets the score at which throttle begins, from what hard streams were measured "
             f"to cost at other seeds. Here it is held against seeds {seeds.start}-{seeds.stop - 1}, over {days:,.0f} "
             "partner-days: in brackets the upper end of the 95 % interval. Without the setting throttle begins at 61.", "",
             "| promised | throttle from | measured a partner and year | attacks at throttle | median delay |",
             "|---|---|---|---|---|"]
    lines += [f"| {kept.nominal:g} | {kept.score:.1f} | {kept.measured:.2f} ({upper(kept.episodes) / days * YEAR_DAYS:.2f}) | "
              f"{share(kept.share)} | {seconds(kept.seconds)} |" for kept in budgets]
    return "\n".join([*lines, "", "![promised and measured](detection-budget.svg)"]) + "\n"


def real(series: list[Any]) -> str:
    if not series:
        return ""
    days = sum(judged.days for judged in series)
    lines = ["", "## Labelled real series", "",
             "Series of a public set (Microsoft's cloud monitoring dataset, MIT), each as the calls of one partner: as many as "
             "it says, or, where it is one of latencies, as slow. Experts labelled what looked odd to them. Most of the rises "
             "they marked are of two to five times, which partners of an API grow to without anybody's fault; falls are not an "
             "attack. What is to be seen here is that real rhythms lead to no action.", "",
             "| series | days | labelled rises | other labels | " + " | ".join(f"at {level}" for level in LEVELS)
             + " | false alerts | false throttles |", "|" + "---|" * (6 + len(LEVELS))]
    lines += [f"| {judged.name} | {judged.days:.0f} | {judged.rises} | {judged.others} | "
              + " | ".join(str(n) for n in judged.reached) + f" | {judged.false_alerts} | {judged.false_throttles} |"
              for judged in series]
    alerts, throttles = sum(j.false_alerts for j in series), sum(j.false_throttles for j in series)
    return "\n".join([*lines, "", f"False ones per 100 partner-days, of {days:,.0f}: {rate(alerts, days)} alerts, "
                      f"{rate(throttles, days)} throttles."]) + "\n"


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
            f"{data['all']['throttle_seconds']:.1f} s | {rate(throttles, days)} | {rate(alerts, days)} | "
            f"{data['hours'] / days * 100:.1f} |")
    lines += [f"| wanted: {name} | | | {least:.0%} | {most[0]} s | {most[1]} | {most[2]} | {most[3]} |".replace("%", " %")
              for name, (least, *most) in WANTED.items()]
    return "\n".join(lines) + "\n\nFalse ones and hours per 100 partner-days without an attack; " \
        "in brackets the upper end of the 95 % interval (Poisson). " + missed(sections) + "\n\n" \
        "![how soon attacks reach each level](detection-delays.svg)\n\n" \
        "![share at throttle by strength, hard streams](detection-strengths.svg)\n"


def missed(sections: dict[str, dict[str, Any]]) -> str:
    """In words, which of WANTED was not reached, and what the backend caused."""
    short = []
    for name, (least, *most) in WANTED.items():
        if name not in sections:
            continue
        data = sections[name]
        per = 100 / data["days"]
        got = (data["all"]["throttle_seconds"], data["throttles"].total() * per, data["alerts"].total() * per,
               data["hours"] * per)
        if data["all"]["throttle_share"] < least:
            short.append(f"{name}, at throttle: {share(data['all']['throttle_share'])} of {least:.0%}")
        short += [f"{name}, {what}: {value:.2f} of {limit}" for what, value, limit in zip(COLUMNS, got, most, strict=True)
                  if value > limit]
        if data["backend"]:
            short.append(f"{name}, false throttles because the backend was slow or failing: {data['backend']} of 0")
    return "Not reached: " + "; ".join(short) + "." if short else "All of it was reached."


def section(name: str, data: dict[str, Any]) -> str:
    lines = ["", f"## {name.capitalize()}" + ("" if "shapes" in name else " streams"), "",
             f"{data['days']:,.0f} partner-days. Rises in the half hour after an attack: {data['aftermath']}.", "",
             "Share of the attacks that reached the level, median delay, calls of the partner until then.", "",
             "| attack | n | " + " | ".join(LEVELS) + " |", "|" + "---|" * (2 + len(LEVELS))]
    for kind, found in data["kinds"].items():
        lines.append(f"| {kind} | {found['n']} | " + " | ".join(reached(found, level) for level in LEVELS) + " |")
    if data["throttles"] or data["alerts"]:
        lines += ["", "| innocent cause | false throttles | false alerts |", "|---|---|---|"]
        for cause in ("calm", *HAPPENINGS):
            if data["throttles"][cause] or data["alerts"][cause]:
                lines.append(f"| {cause.replace('_', ' ')} | {data['throttles'][cause]} | {data['alerts'][cause]} |")
        if during := sum(data["throttles"][cause] for cause in BACKEND):
            lines += ["", f"{during} false throttles while the backend was slow or failing, or in the hour after; "
                      f"{data['backend']} of them because of it."]
    if any(data["peers"].values()):
        lines += ["", f"Others on the first {data['peers_on']} of these seeds, scored by the minute, each at the threshold "
                  "that is best in hindsight:", "", "| | found | median delay | false episodes per 100 partner-days |",
                  "|---|---|---|---|"]
        for peer, answer in data["peers"].items():
            if answer:
                lines.append(f"| {peer} | {share(answer['found'])} | {seconds(answer['median'])} | {answer['false']:.1f} |")
    return "\n".join(lines) + "\n"


def reached(found: dict[str, float], level: str) -> str:
    delay, calls = found[f"{level}_seconds"], found[f"{level}_events"]
    return share(found[f"{level}_share"]) + ("" if isinf(delay) else f", {delay:,.0f} s, {calls:,.0f}")


def share(x: float) -> str:
    return f"{x * 100:.1f} %" if x < 1 else "100 %"


def seconds(x: float) -> str:
    return "never" if isinf(x) else f"{x:,.0f} s"


def rate(count: int, days: float) -> str:
    """Per 100 days, with the upper end of its 95 % interval."""
    return f"{count / days * 100:.2f} ({upper(count) / days * 100:.2f})"


def upper(count: int) -> float:
    """The upper end of a count's 95 % interval (Poisson; Byar's approximation)."""
    n = count + 1
    return n * (1 - 1 / (9 * n) + 1.96 / (3 * n**0.5)) ** 3
