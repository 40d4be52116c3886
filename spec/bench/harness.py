"""What every measurement needs: cores, processes that end with the run, servers, load."""

import atexit
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / ".build-bench"
LOAD = BUILD / "spec" / "bench" / "load"

WINDOW = 0.7  # s, counted
WARMUP = 0.15  # s, before each window, not counted
START_LIMIT = 15  # s, for a server to say that it listens
LISTENING = re.compile(r"listening on http://([0-9.]+):(\d+)")


class Skip(Exception):
    """A peer that cannot be had here; the message says why."""


# Output


def say(text=""):
    progress("")
    print(text, flush=True)


def progress(text):
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()


# Processes


class Cores:
    """Which core is whose. A child inherits the affinity its parent has when it is started, so
    a server is on its core from its first instruction, with no wrapper in between."""

    def __init__(self, realtime):
        allowed = sorted(os.sched_getaffinity(0))
        self.all = set(allowed)
        self.load = allowed[0]
        self.server = allowed[1] if len(allowed) > 1 else allowed[0]
        self.realtime = realtime
        self.free = False  # True: everybody runs wherever the system puts him

    @contextlib.contextmanager
    def pinned(self, core):
        os.sched_setaffinity(0, self.all if self.free else {core})
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        try:
            yield
        finally:
            if self.realtime:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            os.sched_setaffinity(0, self.all)


class Processes:
    """Every process of this run. Each is ended by its id, whatever ends the run."""

    def __init__(self):
        self.running = []
        atexit.register(self.end_all)

    def start(self, command, **options):
        # A session of its own: a Ctrl-C at the terminal reaches this script alone, which then
        # ends the rest in order.
        process = subprocess.Popen([str(c) for c in command], start_new_session=True, **options)
        self.running.append(process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        if process in self.running:
            self.running.remove(process)

    def end_all(self):
        for process in list(self.running):
            self.end(process)


class Bench:
    """What every measurement needs: cores, processes, a temporary folder, the rounds to run."""

    def __init__(self, cores, rounds, folder):
        self.cores = cores
        self.rounds = rounds
        self.folder = folder
        self.processes = Processes()

    def call(self, command, limit, **options):
        """Run a command to its end, at most `limit` seconds. Returns (status, output)."""
        process = self.processes.start(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, **options)
        try:
            output, _ = process.communicate(timeout=limit)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            return -1, f"{command[0]}: not done after {limit} s"
        finally:
            self.processes.end(process)

    def load(self, mode, server, *options, window=WINDOW, path="", more=()):
        """One window of load; `more`: what stands behind the target. Returns the figures of its line as a dict of numbers."""
        command = [LOAD, mode, "--pid", server.pid, "-t", window, "-w", WARMUP, *options,
                   server.target + path, *more]
        if server.peer.raw:
            command.insert(2, "--raw")
        with self.cores.pinned(self.cores.load):
            process = self.processes.start(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True)
        try:
            out, err = process.communicate(timeout=window + 30)
        finally:
            self.processes.end(process)
        if process.returncode != 0:
            raise RuntimeError(f"{server.peer.name}: {err.strip() or 'the load was cut off'}")
        return {k: float(v) for k, v in (pair.split("=") for pair in out.split()[1:])}

    @contextlib.contextmanager
    def hold(self, server, connections, path=""):
        """Keep idle connections open for as long as the block lasts."""
        command = [LOAD, "idle", "-c", connections, server.target + path]
        if server.peer.raw:
            command.insert(2, "--raw")
        with self.cores.pinned(self.cores.load):
            process = self.processes.start(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True)
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"{server.peer.name}: {process.stderr.read().strip()}")
            yield
        finally:
            self.processes.end(process)


# Servers


class Server:
    """A peer that runs: started on its core, ready when it says so."""

    def __init__(self, bench, peer):
        self.bench = bench
        self.peer = peer
        self.said = []
        command, environment = peer.command(bench)
        begun = time.perf_counter()
        with bench.cores.pinned(bench.cores.server):
            self.process = bench.processes.start(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True, errors="replace",
                env={**os.environ, **environment}, cwd=bench.folder)
        self.pid = self.process.pid
        try:
            self.target = self.wait_until_ready()
        except BaseException:
            bench.processes.end(self.process)
            raise
        self.startup = time.perf_counter() - begun
        # Nobody may block for want of a reader.
        threading.Thread(target=self.listen, daemon=True).start()

    def wait_until_ready(self):
        if self.peer.port:
            return self.wait_for_port()
        timer = threading.Timer(START_LIMIT, self.process.kill)
        timer.start()
        try:
            for line in self.process.stderr:
                self.said.append(line)
                found = LISTENING.search(line)
                if found:
                    return f"{found[1]}:{found[2]}/"
        finally:
            timer.cancel()
        raise Skip("it did not start: " + (self.last_words() or f"silent for {START_LIMIT} s"))

    def wait_for_port(self):
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.peer.port), 1).close()
                return f"127.0.0.1:{self.peer.port}/"
            time.sleep(0.002)
        raise Skip(f"nothing answers on port {self.peer.port}")

    def listen(self):
        with contextlib.suppress(ValueError, OSError):
            for line in self.process.stderr:
                self.said = self.said[-20:] + [line]

    def last_words(self):
        return self.said[-1].strip() if self.said else ""

    def rss(self):
        """Resident bytes; exact, unlike those of statm, which lag by some pages per core."""
        try:
            with open(f"/proc/{self.pid}/smaps_rollup") as lines:
                return next(int(s.split()[1]) * 1024 for s in lines if s.startswith("Rss:"))
        except (OSError, StopIteration) as error:
            raise RuntimeError(f"{self.peer.name}: its memory cannot be read: {error}")

    def peak(self):
        """The most bytes that were ever resident."""
        with open(f"/proc/{self.pid}/status") as lines:
            return next(int(s.split()[1]) * 1024 for s in lines if s.startswith("VmHWM:"))

    def end(self):
        self.bench.processes.end(self.process)
