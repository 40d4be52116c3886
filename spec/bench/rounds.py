"""Alternating rounds, and the tables that show them."""

import random
import statistics

from harness import WINDOW, Server, Skip, progress, say

# Rounds


def find_servers(bench, peers, known):
    """Start what can be had; say, once per peer, why the others cannot."""
    servers = []
    for peer in peers:
        if peer.name in known["missing"]:
            continue
        try:
            progress(f"starting {peer.name} …")
            peer.find(bench)
            servers.append(Server(bench, peer))
        except Skip as reason:
            say(f"{peer.name}: not found ({reason})")
            known["missing"].add(peer.name)
    return servers


def windows_of(bench, servers, mode, *options, path=""):
    """What `rounds_of` takes: {name: function that measures for so many seconds}."""
    def measure(server):
        return lambda seconds: bench.load(mode, server, *options, window=seconds, path=path)

    return {server.peer.name: measure(server) for server in servers}


def rounds_of(bench, label, windows, seconds=WINDOW):
    """Alternating windows. Returns {name: [figures of round 1, …]}; a server that answers wrongly
    is left out, with a sentence."""
    figures = {name: [] for name in windows}
    for number in range(-1, bench.rounds):  # the round before the first is for warming up
        for name in random.sample(list(windows), len(windows)):
            if name not in figures:
                continue
            progress(f"{label}: round {max(number + 1, 0)}/{bench.rounds}, {name}")
            try:
                line = windows[name](seconds)
            except (RuntimeError, Skip) as error:
                say(f"{label}: {error}; left out")
                del figures[name]
                continue
            if number >= 0:
                figures[name].append(line)
    return figures


def ratios(figures, a, b, key="cpu_us"):
    return [x[key] / y[key] for x, y in zip(figures[a], figures[b])]


SIGNS = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


def target(what, sign, limit, values):
    """A row of the table of targets: the median of the values is held to the limit."""
    reached = SIGNS[sign](statistics.median(values), limit)
    return (what, f"{sign} {limit:g}", spread(values), reached)


# Tables


def table(rows, left=2):
    """Print rows of cells in aligned columns, the first `left` of them flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) if i < left else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        say("  ".join(cells).rstrip())


def spread(values, form="%.2f"):
    """The median and, in brackets, the quartiles."""
    median = form % statistics.median(values)
    if len(values) < 3:
        return median
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median} [{form % low}-{form % high}]"


def thousands(n):
    return f"{n / 1e6:.2f}M" if n >= 1e6 else f"{n / 1e3:.1f}k" if n >= 1e3 else f"{n:.0f}"


def rate_rows(label, figures, base, versus=("cpu_us",)):
    """A row per peer: medians of the rounds, and the ratios of the base to it."""
    rows = []
    for name, lines in figures.items():
        median = {key: statistics.median(line[key] for line in lines) for key in lines[0]}
        row = [label, name, thousands(median["rate"])]
        row += [f"{median[key]:.0f}" if key in median else "-" for key in ("p50_us", "p99_us")]
        row += [f"{median['server_busy'] * 100:.0f} %", f"{median['cpu_us']:.3g}"]
        for key in versus:
            if name == base:
                row.append("1")
            else:
                row.append(spread(ratios(figures, base, name, key)) if base in figures else "-")
        rows.append(row)
    return rows
