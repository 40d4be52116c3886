"""What is measured of groups and of the layer: fan-outs beside bare writes, messages through a Redis
beside a bare PUBLISH and beside channels_redis, and a crowd that loses its connections.

Four parties on two cores have no fair places: nobody is pinned.
"""

import contextlib
import http.client
import itertools
import json
import select
import shutil
import statistics
import sys
from pathlib import Path

from harness import BUILD, HERE, LOAD, ROOT, WARMUP, Skip, progress, say
from peers import NodeWs, Peer, Rille
from postgres import Postgres
from rounds import find_servers, ratios, rounds_of, spread, target, thousands, windows_of

MODES = ("core", "pubsub")
POSTGRES = "postgresql"
FAN10K, HANDLED, LATENCY, RATE, ANSWERS, BLINK = (
    "fanout10k", "fan-out, handled", "redis latency", "redis rate", "redis answers", "blink")
LAYER_WORKLOADS = [HANDLED, FAN10K, LATENCY, RATE, ANSWERS, BLINK]

CROWD, MEMBERS = 10000, 1000  # of the two fan-outs
CROWD_WINDOW = 1.5  # s: on a busy machine one of the first may take half a second
FAN_LIMIT, HANDLED_LIMIT = 1.3, 1 / 3  # times the CPU of the writes; times the rate of the core
LATENCY_LIMIT, RATE_LIMIT = 1.5, 5  # times a bare round trip; times channels_redis
# Messages on the way at a time: enough to keep both sides busy however long a turn is. In core mode
# channels_redis keeps 100 messages, and drops what is more. Who asks, has one on the way; who only
# tells, has so many, and waits to hear that they were had.
ON_THE_WAY = {"core": 80, "pubsub": 400, POSTGRES: 80}
EVERY = 20
BLINKERS = {"group": "room.blink", "clients": 100, "seconds": 45, "every": 15, "off": 2, "rate": 40}


class WriteFan(Peer):
    """Two threads that write what one says to all."""

    name = "writes"
    raw = True

    def command(self, bench):
        return [BUILD / "spec" / "bench" / "write_fan"], {}


class Crowd:
    """Connections that stay, to a server's one group, and a window of fan-outs whenever asked."""

    def __init__(self, bench, server, path):
        self.bench, self.name = bench, server.peer.name
        command = [LOAD, "fan", "--turns", "--pid", server.pid, "-t", CROWD_WINDOW, "-w", WARMUP,
                   "-s", 100, "-c", CROWD, server.target + path]
        if server.peer.raw:
            command.insert(2, "--raw")
        self.process = bench.processes.start(command, stdin=-1, stdout=-1, stderr=-1, text=True)
        self.read(60)

    def read(self, limit):
        if not select.select([self.process.stdout], [], [], limit)[0]:
            raise RuntimeError(f"{self.name}: silent for {limit} s")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: {self.process.stderr.read().strip()}")
        return line

    def window(self, _):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return figures_of(self.read(CROWD_WINDOW + 30))

    def end(self):
        self.bench.processes.end(self.process)


def cpu_of(processes):
    """Seconds that all their threads have had so far."""
    return sum(int(path.read_text().split()[0]) for process in processes
               for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat")) / 1e9


def figures_of(line):
    return {k: float(v) for k, v in (pair.split("=") for pair in line.split()[1:])}


def layer_rows(label, figures, base, key):
    """A row per contender: medians, and the ratios of the base to it."""
    rows = []
    for name, lines in figures.items():
        def cell(column, form):
            return form(statistics.median(line[column] for line in lines)) \
                if column in lines[0] else "-"

        same = name == base or base not in figures
        rows.append([
            label, name, cell("rate", thousands), cell("p50_us", "{:.0f}".format),
            cell("p99_us", "{:.0f}".format), cell("cpu_us", "{:.3g}".format),
            "1" if same else spread(ratios(figures, base, name, key))])
    return rows


class ChannelsRedis:
    """Two processes with channels_redis, one that asks or tells and a Channels consumer."""

    def __init__(self, bench, mode, port):
        self.name = f"channels_redis, {mode}"
        self.window = ON_THE_WAY[mode]
        self.bench = bench
        self.both = []
        for role in ("consumer", "asker"):
            process = bench.processes.start(
                [sys.executable, HERE / "peers" / "channels_layer.py", role, mode, port],
                stdin=-1, stdout=-1, stderr=-1, text=True)
            self.both.append(process)
            if self.read(process, 20) != "ready":
                error = process.stderr.read().strip().splitlines()
                self.end()
                raise Skip((error or ["no reason given"])[-1])

    def read(self, process, limit):
        if not select.select([process.stdout], [], [], limit)[0]:
            raise RuntimeError(f"{self.name}: silent for {limit} s")
        return process.stdout.readline().strip()

    def work(self, what, seconds):
        asker = self.both[1]
        asker.stdin.write(f"{what} {seconds} {self.window} {EVERY}\n")
        asker.stdin.flush()
        done, took = (self.read(asker, seconds + 20) or "0 1").split()
        return int(done), float(took)

    def end(self):
        for process in self.both:
            self.bench.processes.end(process)


class Layer:
    """The workloads, one after another; what each finds is added to its rows and targets."""

    def __init__(self, bench, binary, known):
        self.bench = bench
        self.binary = binary
        self.known = known
        self.rows, self.targets = [], []

    def measure(self, wanted):
        parts = {HANDLED: self.handled, FAN10K: self.crowd, BLINK: self.blink}
        for label, part in parts.items():
            if label in wanted:
                self.take(label, part)
        if wanted & {LATENCY, RATE, ANSWERS}:
            self.take("redis", self.redis, wanted)

    def take(self, label, part, *arguments):
        try:
            part(*arguments)
        except (RuntimeError, Skip, OSError) as error:
            say(f"{label}: {error}; left out")

    @contextlib.contextmanager
    def running(self, *peers):
        servers = find_servers(self.bench, peers, self.known)
        try:
            yield {server.peer.name: server for server in servers}
        finally:
            for server in servers:
                server.end()

    # Fan-outs

    def handled(self):
        """A handler for each member, beside the core alone, on one server."""
        with self.running(Rille(self.binary, "echo.lua")) as servers:
            windows = {}
            for name, path in (("rille, core", "fan"), ("rille", "handled")):
                windows |= {name: window for window in windows_of(
                    self.bench, servers.values(), "fan", "-s", 100, "-c", MEMBERS,
                    path=path).values()}
            figures = rounds_of(self.bench, HANDLED, windows)
        self.rows += layer_rows(HANDLED, figures, "rille", "rate")
        self.hold(figures, f"{HANDLED}: deliveries/s, rille / its core", "rille", "rille, core",
                  "rate", ">=", HANDLED_LIMIT)

    def crowd(self):
        """Both crowds stay, and are spoken to in turn: of a round only some fan-outs are measured,
        and not ten thousand handshakes."""
        rille = Rille(self.binary, "echo.lua", "--workers", "2")
        with contextlib.ExitStack() as held, self.running(rille, WriteFan()) as servers:
            windows = {}
            for name, path in (("rille", "fan"), ("writes", "")):
                progress(f"{FAN10K}: {CROWD} connections to {name} …")
                crowd = Crowd(self.bench, servers[name], path)
                held.callback(crowd.end)
                windows[name] = crowd.window
            figures = rounds_of(self.bench, FAN10K, windows)
        self.rows += layer_rows(FAN10K, figures, "rille", "cpu_us")
        for key, what in (("cpu_us", "CPU per delivery"), ("whole_us", "time until all have it")):
            self.hold(figures, f"{FAN10K}: {what}, rille / writes", "rille", "writes", key, "<=",
                      FAN_LIMIT)

    def hold(self, figures, what, a, b, key, sign, limit):
        if figures.get(a) and figures.get(b):
            self.targets.append(target(what, sign, limit, ratios(figures, a, b, key)))

    # Through a Redis

    def redis(self, wanted):
        if not shutil.which("redis-server"):
            raise Skip("no redis-server on this machine")
        folder = f"{self.bench.folder}/redis"
        script = ROOT / "spec" / "support" / "redis"
        status, output = self.bench.call([script, "start", folder], 20)
        if status != 0:
            raise Skip(output.strip())
        try:
            port = output.strip()
            layers = {mode: f"redis://127.0.0.1:{port}?mode={mode}" for mode in MODES}
            with contextlib.ExitStack() as held:
                try:
                    layers[POSTGRES] = held.enter_context(Postgres(self.bench, "")).url
                except Skip as reason:
                    say(f"rille, {POSTGRES}: left out ({reason})")
                peers = [Rille(self.binary, "layer.lua", name="rille, memory")]
                peers += [Rille(self.binary, "layer.lua", "--layer", url, "--limit",
                                "mailbox=10000", name=f"{side}, {name}")
                          for name, url in layers.items() for side in ("here", "there")]
                servers = held.enter_context(self.running(*peers))
                if LATENCY in wanted:
                    self.latency(servers, port, layers)
                if wanted & {RATE, ANSWERS}:
                    self.rates(servers, port, layers, wanted)
        finally:
            self.bench.call([script, "stop", folder], 20)

    def latency(self, servers, port, layers):
        """One message at a time, from one process to a member on another: what it takes longer than
        from a process to itself, beside a bare PUBLISH and what a subscriber hears of it."""
        def window(members, speaker):
            options = ("-s", 100, "-c", 2)
            return lambda seconds: self.bench.load(
                "fan", servers[members], *options, window=seconds,
                more=[servers[speaker].target + "say"])

        def bare(*apart):
            def measure(seconds):
                status, output = self.bench.call(
                    [BUILD / "spec" / "bench" / "pubsub", port, seconds, *apart], seconds + 15)
                if status != 0:
                    raise RuntimeError(output.strip())
                return figures_of(output)
            return measure

        windows = {"PUBLISH": bare(), "PUBLISH, apart": bare("apart"),
                   "rille, memory": window("rille, memory", "rille, memory")}
        windows |= {f"rille, {name}": window(f"there, {name}", f"here, {name}") for name in layers}
        figures = rounds_of(self.bench, LATENCY, windows)
        self.rows += layer_rows(LATENCY, figures, "PUBLISH", "p50_us")
        for mode, bare_name in itertools.product(MODES, ("PUBLISH", "PUBLISH, apart")):
            names = (f"rille, {mode}", "rille, memory", bare_name)
            if all(figures.get(name) for name in names):
                rounds = zip(*([line["p50_us"] for line in figures[name]] for name in names))
                self.targets.append(target(
                    f"{LATENCY}: added median, rille, {mode} / {bare_name}", "<=", LATENCY_LIMIT,
                    [(ours - memory) / publish for ours, memory, publish in rounds]))

    def rates(self, servers, port, layers, wanted):
        """A consumer on another process is told things, or asked, through its group."""
        def ours(server, mode):
            def work(what, seconds):
                connection = http.client.HTTPConnection(server.target.rstrip("/"), timeout=60)
                with contextlib.closing(connection):
                    connection.request("GET", f"/measure/{what}?seconds={seconds}&every={EVERY}"
                                              f"&window={ON_THE_WAY[mode]}")
                    response = connection.getresponse()
                    body = response.read()
                if response.status != 200:
                    raise RuntimeError(f"rille: status {response.status}")
                figures = json.loads(body)
                return figures["done"], figures["seconds"]
            return work

        with contextlib.ExitStack() as held:
            contenders = {}
            for mode in layers:
                there, here = servers[f"there, {mode}"], servers[f"here, {mode}"]
                held.enter_context(self.bench.hold(there, 1, path="answer"))
                contenders[f"rille, {mode}"] = ours(here, mode), [here.process, there.process]
                if mode not in MODES:
                    continue
                try:
                    progress(f"starting channels_redis, {mode} …")
                    theirs = ChannelsRedis(self.bench, mode, port)
                    held.callback(theirs.end)
                    contenders[theirs.name] = theirs.work, theirs.both
                except Skip as reason:
                    say(f"channels_redis, {mode}: not found ({reason})")
            for label, what, noun in ((RATE, "tell", "message"), (ANSWERS, "ask", "answer")):
                if label in wanted:
                    self.rate(label, what, noun, layers, contenders)

    def rate(self, label, what, noun, layers, contenders):
        """tell: many tasks send to the consumer, and are told of every twentieth of theirs that its
        handler has had it. ask: as many wait for its answer to each, two messages."""
        def window(work, processes):
            def measure(seconds):
                before = cpu_of(processes)
                done, took = work(what, seconds)
                if done == 0:
                    raise RuntimeError(f"no {noun}s")
                return {"rate": done / took, "cpu_us": (cpu_of(processes) - before) * 1e6 / done}
            return measure

        figures = rounds_of(self.bench, label, {
            name: window(*contender) for name, contender in contenders.items()})
        for mode in layers:
            names = (f"rille, {mode}", f"channels_redis, {mode}")
            self.rows += layer_rows(
                label, {n: figures[n] for n in names if n in figures}, names[0], "rate")
            self.hold(figures, f"{label}: {noun}s/s, rille / channels_redis, {mode}", *names,
                      "rate", ">=", RATE_LIMIT)
            self.hold(figures, f"{label}: CPU per {noun}, channels_redis / rille, {mode}",
                      *reversed(names), "cpu_us", ">=", RATE_LIMIT)

    # Lost connections

    def blink(self):
        """Clients of examples/client that are away for two seconds in fifteen."""
        node = NodeWs()
        node.find(self.bench)
        room = Rille(self.binary, "", "--no-access-log", "--workers", "2", name="room")
        room.script = ROOT / "examples" / "room"
        with self.running(room) as servers:
            progress(f"{BLINK}: {BLINKERS['seconds']} s …")
            status, output = self.bench.call(
                ["env", f"NODE_PATH={node.modules}", "node", ROOT / "spec/support/clients/blink.js",
                 f"ws://{servers['room'].target}ws", json.dumps(BLINKERS)],
                BLINKERS["seconds"] + 60, cwd=ROOT)
        if status != 0:
            raise RuntimeError(output.strip())
        heard = json.loads(output.splitlines()[-1])
        bad = heard["doubled"] + heard["disordered"] + heard["gaps"]
        self.targets.append((
            f"{BLINK}: heard in order and once, {heard['returns']} returns", "100 %",
            f"{100 * heard['heard'] / heard['wanted']:.4g} %, {bad} not so",
            heard["heard"] == heard["wanted"] and bad == 0))


def bench_layer(bench, wanted, binary, known):
    """Returns rows of a table, and the targets."""
    realtime = bench.cores.realtime
    bench.cores.free, bench.cores.realtime = True, False
    try:
        layer = Layer(bench, binary, known)
        layer.measure(wanted)
        return layer.rows, layer.targets
    finally:
        bench.cores.free, bench.cores.realtime = False, realtime
