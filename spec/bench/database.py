"""What is measured of the database, all of it on one PostgreSQL and beside its own client."""

import contextlib
import http.client
import json
import os
import random
import statistics
import time

from harness import Server, Skip, progress, say
from peers import Channels, NodePg, Pgbench, Rille
from postgres import ACCOUNTS, ROWS, SUM, Postgres
from rounds import (
    find_servers, rate_rows, ratios, rounds_of, spread, target, thousands, windows_of)

SELECTS = {f"db select, 64 x {n}": n for n in (1, 8)}
AQUERY, WALK, READ, SLEEP = "db aquery, 64 x 1", "db walk", "db rows", "db sleep"
DATABASE_WORKLOADS = [*SELECTS, AQUERY, WALK, READ, SLEEP]

UNSHARED = "shared_connections=0"  # every statement has a connection for itself
POOLS = (1, 10)  # of node_pg: its best setting, and its own default, which counts
NODE = "node_pg, pool 10"
ROWS_LIMIT = 64  # MiB
SLEEP_SECONDS = 5  # as in servers/sleep.lua
SLEEP_WINDOWS = 3  # of echoes; they must fit into one sleep


def select_windows(bench, servers, outstanding, path=""):
    return windows_of(bench, servers, "select", "-c", 64, "-p", outstanding,
                      "--last", ACCOUNTS, "--sum", SUM, path=path)


def renamed(windows, name):
    """One server's windows, as those of a second contender."""
    return {name: window for window in windows.values()}


class Database:
    """The workloads, one after another. What each finds is added to the rows of its table and
    to the targets."""

    def __init__(self, bench, postgres, binary, known):
        self.bench = bench
        self.postgres = postgres
        self.binary = binary
        self.known = known
        self.rates, self.memory, self.targets = [], [], []

    def measure(self, wanted):
        lookups = [*SELECTS, AQUERY, WALK]
        if wanted & set(lookups):
            self.take("lookups", self.lookups, wanted)
        if READ in wanted:
            self.take(READ, self.read)
        if SLEEP in wanted:
            self.take(SLEEP, self.sleep)

    def take(self, label, part, *arguments):
        try:
            part(*arguments)
        except (RuntimeError, Skip, OSError) as error:
            say(f"{label}: {error}; left out")

    def rille(self, script, setting=None, name="rille", migrate=False):
        url = self.postgres.url_with(setting) if setting else self.postgres.url
        options = ["--migrate"] if migrate else []
        return Rille(self.binary, script, "--database", url, *options, name=name)

    @contextlib.contextmanager
    def running(self, *peers):
        """Those that can be had, by name; a block's end is theirs."""
        servers = find_servers(self.bench, peers, self.known)
        try:
            yield {server.peer.name: server for server in servers}
        finally:
            for server in servers:
                server.end()

    def add(self, label, figures):
        self.rates += rate_rows(label, figures, "rille", versus=("rate", "cpu_us"))

    def hold(self, label, figures, key, peer, sign, limit, what):
        """A target for rille against a peer, where both have figures."""
        if figures.get("rille") and figures.get(peer):
            self.targets.append(target(
                f"{label}: {what}, rille / {peer}", sign, limit,
                ratios(figures, "rille", peer, key)))

    # Lookups by key, and series of them

    def lookups(self, wanted):
        self.postgres.fill_accounts()
        rille = self.rille("accounts.lua")
        nodes = [NodePg(self.postgres, pool) for pool in POOLS]
        unshared = self.rille("accounts.lua", UNSHARED, "rille, unshared")
        others = [unshared, Channels(self.postgres)] if wanted & set(SELECTS) else []
        with self.running(rille, *nodes, *others) as servers:
            for label, outstanding in SELECTS.items():
                if label in wanted:
                    self.select(label, outstanding, servers)
            ours = [servers["rille"]] if "rille" in servers else []
            if AQUERY in wanted:
                self.aquery(ours)
            if WALK in wanted:
                self.walk(ours, [servers[n.name] for n in nodes if n.name in servers])

    def select(self, label, outstanding, servers):
        windows = select_windows(self.bench, servers.values(), outstanding)
        if "rille" in servers:
            windows |= renamed(
                select_windows(self.bench, [servers["rille"]], outstanding, "plain"),
                "rille, plain")
        pgbench = Pgbench(self.postgres)
        windows[pgbench.name] = lambda _: pgbench.window(self.bench)
        figures = rounds_of(self.bench, label, windows)
        self.add(label, figures)
        if outstanding > 1:
            self.hold(label, figures, "rate", "pgbench", ">=", 1.4, "rate")
            return
        self.hold(label, figures, "rate", "pgbench", ">=", 1, "rate")
        self.hold_statements(label, figures)
        self.hold(label, figures, "rate", NODE, ">=", 4, "rate")
        self.hold(label, figures, "rate", "channels", ">=", 25, "rate")

    def hold_statements(self, label, figures):
        """The CPU of statements: of a message with one, less that of a message without."""
        names = ("rille", "rille, unshared", "rille, plain")
        if all(figures.get(name) for name in names):
            rounds = zip(*([line["cpu_us"] for line in figures[name]] for name in names))
            self.targets.append(target(
                f"{label}: CPU per statement, rille / rille, unshared", "<", 0.5,
                [(ours - plain) / (unshared - plain) for ours, unshared, plain in rounds]))

    def aquery(self, ours):
        """`aget` beside `aquery`, on one and the same server."""
        figures = rounds_of(self.bench, AQUERY, {
            **select_windows(self.bench, ours, 1),
            **renamed(select_windows(self.bench, ours, 1, "row"), "rille, aquery")})
        self.add(AQUERY, figures)
        self.hold(AQUERY, figures, "cpu_us", "rille, aquery", "<=", 1.5, "CPU per message")

    def walk(self, ours, nodes):
        """What is counted are steps: one query and one line."""
        with self.running(self.rille("tree.lua", migrate=True)) as servers:
            self.postgres.sql("VACUUM ANALYZE rille_bench_folder")
            figures = rounds_of(self.bench, WALK, {
                **windows_of(self.bench, servers.values(), "walk", "-c", 64),
                **windows_of(self.bench, nodes, "walk", "-c", 64, path="walk"),
                **renamed(select_windows(self.bench, ours, 1), "rille, selects")})
        self.add(WALK, figures)
        self.hold(WALK, figures, "rate", "rille, selects", ">=", 1.5, "steps/s")
        self.hold(WALK, figures, "rate", NODE, ">=", 8, "steps/s")

    # A long read

    def read(self):
        self.postgres.fill_rows()
        rates, peaks = [], []
        count = min(3, self.bench.rounds)
        for number in range(count):
            progress(f"{READ}: {number + 1}/{count}")
            server = Server(self.bench, self.rille("rows.lua"))
            try:
                begun = time.perf_counter()
                rows = json.loads(ask(server, "/").answer())
                rates.append(ROWS / (time.perf_counter() - begun))
                peaks.append(server.peak() / (1 << 20))
            finally:
                server.end()
            if rows != {"rows": ROWS, "bytes": sum(len(f"row {n + 1}") for n in range(ROWS))}:
                raise RuntimeError(f"rille: it read {rows}")
        self.memory.append([READ, "rille", thousands(statistics.median(rates)),
                            spread(peaks, "%.1f")])
        self.targets.append(target(f"{READ}: peak memory, MiB", "<", ROWS_LIMIT, peaks))

    # A statement that takes long, and strangers

    def sleep(self):
        """Windows of echoes while another consumer waits for the database, and others."""
        quiet, slow = [], []
        rounds = min(10, self.bench.rounds)
        with self.running(self.rille("sleep.lua")) as servers:
            for server in servers.values():
                self.bench.load("echo", server, "-c", 1, window=0.3)
                for number in range(rounds):
                    progress(f"{SLEEP}: {number + 1}/{rounds}")
                    for asleep in random.sample((True, False), 2):
                        if asleep:
                            slow += self.echoes_beside_sleep(server)
                        else:
                            quiet += self.echoes(server)
        if slow:
            self.add(SLEEP, {"rille": slow, "rille, no sleep": quiet})
            values = [a["p50_us"] / b["p50_us"] for a, b in zip(slow, quiet)]
            self.targets.append((
                f"{SLEEP}: median echo time, with / without", "0.95 to 1.05", spread(values),
                abs(statistics.median(values) - 1) < 0.05))

    def echoes(self, server):
        return [self.bench.load("echo", server, "-c", 1) for _ in range(SLEEP_WINDOWS)]

    def echoes_beside_sleep(self, server):
        begun = time.monotonic()
        sleeper = ask(server, "/sleep")
        lines = self.echoes(server)
        if time.monotonic() - begun > SLEEP_SECONDS:
            raise RuntimeError("the windows took longer than the sleep")
        sleeper.answer()
        if time.monotonic() - begun < SLEEP_SECONDS:
            raise RuntimeError("rille: nobody slept")
        return lines


class ask:
    """A request, and, later, its answer."""

    def __init__(self, server, path):
        self.peer = server.peer
        self.connection = http.client.HTTPConnection(server.target.rstrip("/"), timeout=120)
        self.connection.request("GET", path)

    def answer(self):
        with contextlib.closing(self.connection):
            response = self.connection.getresponse()
            body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.peer.name}: status {response.status}")
        return body


def bench_database(bench, wanted, binary, known):
    """Returns the rows of the tables of rates and of memory, and the targets."""
    url = os.environ.get("DATABASE_URL", "")
    realtime = bench.cores.realtime
    if realtime:
        # A dozen backends of equal rank, or two threads of one peer, would not make way for
        # each other.
        say("the database workloads run at normal priority")
        bench.cores.realtime = False
    try:
        with Postgres(bench, url if url.startswith("postgres") else None) as postgres:
            database = Database(bench, postgres, binary, known)
            database.measure(wanted)
            return database.rates, database.memory, database.targets
    except Skip as reason:
        say(f"PostgreSQL: {reason}; the database workloads are left out")
        return [], [], []
    finally:
        bench.cores.realtime = realtime
