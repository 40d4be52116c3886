"""The PostgreSQL that the database workloads ask: one of the run's own, or that of a URL."""

import contextlib
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from harness import ROOT, Skip, progress

SCALE = 5  # of pgbench: so many times 100 000 accounts
ACCOUNTS = SCALE * 100000
SUM = 1000000  # an account's number and its balance add up to this
ROWS = 1000000  # of the long read

SUPPORT = ROOT / "spec" / "support" / "postgres"

# pgbench's accounts, with balances that tell one row from another.
ACCOUNTS_SQL = f"""
    INSERT INTO pgbench_branches (bid, bbalance) SELECT g, 0 FROM generate_series(1, {SCALE}) g;
    INSERT INTO pgbench_accounts (aid, bid, abalance, filler)
        SELECT g, (g - 1) / 100000 + 1, {SUM} - g, '' FROM generate_series(1, {ACCOUNTS}) g;
"""
# Are these the accounts that were made here? In the order of the key, so that they are in the
# server's buffers afterwards.
ACCOUNTS_CHECK = f"""
    SET enable_seqscan = off; SET enable_bitmapscan = off;
    SELECT count(*) FROM pgbench_accounts WHERE aid > 0 AND aid + abalance = {SUM};
"""
ROWS_SQL = f"""
    CREATE TABLE rille_bench_row (id serial PRIMARY KEY, name text NOT NULL);
    INSERT INTO rille_bench_row SELECT g, 'row ' || g FROM generate_series(1, {ROWS}) g;
"""


def tool(name):
    """The programs themselves: what Debian has in the PATH is a wrapper that costs CPU time."""
    def version(folder):
        return [int(n) for n in folder.parent.name.split(".") if n.isdigit()]

    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version, reverse=True):
        if (folder / name).exists():
            return folder / name
    found = shutil.which(name)
    if not found:
        raise Skip(f"no {name} on this machine")
    return found


@contextlib.contextmanager
def uninterrupted():
    """Put off what would end the run until the block is done."""
    came = []
    kept = {number: signal.signal(number, lambda n, _: came.append(n))
            for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        for number in came[:1]:
            os.kill(os.getpid(), number)


class Postgres:
    """Where it is, for rille as a URL and for all others as libpq's variables. A context: one
    that was started here is stopped at its end."""

    def __init__(self, bench, url):
        self.bench = bench
        self.folder = None
        self.url = url
        if not url:
            self.start()
        parts = urlsplit(self.url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.environment = {
            "PGHOST": unquote(parts.hostname or query.get("host", "")),
            "PGPORT": str(parts.port or query.get("port", 5432)),
            "PGUSER": unquote(parts.username or query.get("user", "postgres")),
            "PGDATABASE": unquote(parts.path[1:] or query.get("dbname", "postgres")),
            "LC_ALL": "C",
        }
        if parts.password:
            self.environment["PGPASSWORD"] = unquote(parts.password)

    def start(self):
        """On the generator's core, and its backends with it."""
        progress("starting PostgreSQL …")
        tool("pgbench")
        self.folder = Path(self.bench.folder) / "postgres"
        try:
            with uninterrupted(), self.bench.cores.pinned(self.bench.cores.load):
                status, output = self.bench.call([SUPPORT, "start", self.folder], 60)
            if status != 0:
                raise Skip(f"it did not start: {(output.strip().splitlines() or ['silent'])[-1]}")
            port = (self.folder / "port").read_text().strip()
        except BaseException:
            self.stop()
            raise
        self.url = f"postgresql://rille@/postgres?host={quote(str(self.folder))}&port={port}"

    def stop(self):
        if self.folder:
            with uninterrupted():
                self.bench.call([SUPPORT, "stop", self.folder], 30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def url_with(self, setting):
        return f"{self.url}{'&' if '?' in self.url else '?'}{setting}"

    def run(self, command, limit=60):
        """Run one of PostgreSQL's programs on this server. Returns what it printed."""
        status, output = self.bench.call(
            [tool(command[0]), *command[1:]], limit, env={**os.environ, **self.environment})
        if status != 0:
            raise Skip(f"{command[0]}: {(output.strip().splitlines() or ['no reason given'])[-1]}")
        return output

    def sql(self, text):
        return self.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", text]).strip()

    def has(self, table):
        return self.sql(f"SELECT to_regclass('{table}') IS NOT NULL") == "t"

    def fill_accounts(self):
        if not self.has("pgbench_accounts"):
            progress(f"making {ACCOUNTS} accounts …")
            self.run(["pgbench", "-i", "-q", "-I", "t"])
            self.sql(ACCOUNTS_SQL)
            self.run(["pgbench", "-i", "-q", "-I", "pv"])
            self.sql("CHECKPOINT")
        if self.sql(ACCOUNTS_CHECK) != str(ACCOUNTS):
            raise Skip("it has a pgbench_accounts that was not made here")

    def fill_rows(self):
        if not self.has("rille_bench_row"):
            progress(f"making {ROWS} rows …")
            self.sql(ROWS_SQL)
            self.sql("VACUUM ANALYZE rille_bench_row")
            self.sql("CHECKPOINT")
