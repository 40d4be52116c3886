"""Who is measured, how each is found on the machine, and how it is started."""

import os
import re
import resource
import shutil
import socket
import sys
from pathlib import Path

from harness import BUILD, HERE, Skip, progress


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Peer:
    """A server to measure. `find` raises Skip where it cannot be had."""

    raw = False  # answers bytes, not WebSocket frames
    port = None  # fixed beforehand, for a server that does not say where it listens

    def find(self, bench):
        pass

    def command(self, bench):
        raise NotImplementedError


class Rille(Peer):
    def __init__(self, binary, script, *options, name="rille"):
        self.name = name
        self.binary = binary
        self.script = HERE / "servers" / script
        self.options = options

    def find(self, bench):
        if not os.access(self.binary, os.X_OK):
            raise Skip(f"no program at {self.binary}")

    def command(self, bench):
        return [self.binary, "run", self.script, "--listen", "127.0.0.1:0", "--workers", "1",
                "--log-level", "warn", *self.options], {}


class Given(Peer):
    """A server that somebody built elsewhere: RILLE_BENCH_PEER is its program. It gets its port in
    PORT, says that it listens as rille does, echoes on / and is a room on /fan."""

    def __init__(self):
        self.binary = os.environ.get("RILLE_BENCH_PEER", "")
        self.name = Path(self.binary).name or "given"

    def find(self, bench):
        if not self.binary:
            raise Skip("RILLE_BENCH_PEER names no program")
        if not os.access(self.binary, os.X_OK):
            raise Skip(f"no program at {self.binary}")
        self.number = free_port()

    def command(self, bench):
        return [self.binary], {"PORT": str(self.number)}


class UvEcho(Peer):
    name = "uv_echo"
    raw = True

    def command(self, bench):
        return [BUILD / "spec" / "bench" / "uv_echo"], {}


class NodeWs(Peer):
    name = "node_ws"
    packages = ("ws@8", "bufferutil@4")  # the second is ws's own native helper

    def __init__(self):
        self.modules = BUILD / "node" / "node_modules"

    def missing(self):
        names = [package.split("@")[0] for package in self.packages]
        return [name for name in names if not (self.modules / name).is_dir()]

    def find(self, bench):
        if not shutil.which("node"):
            raise Skip("no node on this machine")
        if not self.missing():
            return
        if not shutil.which("npm"):
            raise Skip("no npm on this machine")
        progress(f"installing {', '.join(self.missing())} with npm …")
        self.modules.parent.mkdir(parents=True, exist_ok=True)
        status, output = bench.call(
            ["npm", "install", "--prefix", self.modules.parent, "--no-audit", "--no-fund",
             "--ignore-scripts", *self.packages], 90)
        if status != 0 or self.missing():
            errors = [line.strip() for line in output.splitlines() if "error" in line.lower()]
            raise Skip("npm could not install them: " + (errors or ["no reason given"])[0])

    def command(self, bench):
        return ["node", HERE / "peers" / "node_ws.js"], {"NODE_PATH": str(self.modules)}


class NodePg(NodeWs):
    """With `postgres`, the fastest of Node's database clients, and a pool of so many."""

    packages = (*NodeWs.packages, "postgres@3")

    def __init__(self, database, pool):
        super().__init__()
        self.name = f"node_pg, pool {pool}"
        self.database = database
        self.pool = pool

    def command(self, bench):
        return ["node", HERE / "peers" / "node_pg.js"], {
            **self.database.environment, "NODE_PATH": str(self.modules), "POOL": str(self.pool)}


class NginxLua(Peer):
    """Only where it is installed already: Debian's Lua module for nginx replaces the LuaJIT
    development package that rille itself is built with."""

    name = "nginx_lua"
    places = ("/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/etc/nginx/modules")
    modules = ("ndk_http_module.so", "ngx_http_lua_module.so")

    def find(self, bench):
        self.binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if not self.binary:
            raise Skip("no nginx on this machine")
        self.port = free_port()
        folder = Path(bench.folder) / "nginx"
        folder.mkdir()
        found = [Path(p) / m for m in self.modules for p in self.places if (Path(p) / m).exists()]
        text = (HERE / "peers" / "nginx.conf").read_text()
        text = text.replace("@MODULES@", "\n".join(f"load_module {m};" for m in found))
        text = text.replace("@FOLDER@", str(folder)).replace("@PORT@", str(self.port))
        self.conf = folder / "nginx.conf"
        self.conf.write_text(text)
        status, output = bench.call([self.binary, "-t", "-c", self.conf, "-p", folder], 10)
        if status != 0:
            reason = output.strip().splitlines()[0] if output.strip() else "no reason given"
            raise Skip(f"nginx has no Lua here: {reason}")

    def command(self, bench):
        return [self.binary, "-c", self.conf, "-p", self.conf.parent], {}


class Channels(Peer):
    """Django Channels on Daphne, of the versions that are installed: see the application."""

    modules = ("django", "channels", "daphne", "psycopg2")

    def __init__(self, database):
        self.name = "channels"
        self.database = database

    def find(self, bench):
        status, output = bench.call(
            [sys.executable, "-c", f"import {', '.join(self.modules)}"], 20)
        if status != 0:
            raise Skip((output.strip().splitlines() or ["no reason given"])[-1])
        self.port = free_port()

    def command(self, bench):
        return [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", self.port,
                "channels_app:application"], {
            **self.database.environment, "PYTHONPATH": str(HERE / "peers"),
            "PYTHONDONTWRITEBYTECODE": "1"}


class Pgbench:
    """PostgreSQL's own client, which serves nobody: a process per window, on the core where the
    servers are, asks for random accounts on eight connections."""

    name = "pgbench"
    seconds = 2  # pgbench counts whole ones, and its connections begin cold

    tps = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)$", re.M)
    done = re.compile(r"^number of transactions actually processed: (\d+)", re.M)

    def __init__(self, database):
        self.database = database

    def window(self, bench):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with bench.cores.pinned(bench.cores.server):
            output = self.database.run(
                ["pgbench", "-S", "-n", "-M", "prepared", "-c", "8", "-j", "1", "-T",
                 self.seconds])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        tps, done = self.tps.search(output), self.done.search(output)
        if not tps or not done or int(done[1]) == 0:
            raise RuntimeError("pgbench: it says no figures")
        return {"rate": float(tps[1]), "cpu_us": cpu * 1e6 / int(done[1]),
                "server_busy": cpu / self.seconds}
