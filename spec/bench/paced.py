"""A rille of its own on a free port, and load at a steady rate on it: for what is done to a server
while it serves. Everything is taken from .build."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / ".build"
LISTENING = re.compile(r"listening on http://([0-9.]+:\d+)")
START_LIMIT = 10  # s


def options(parser, connections, seconds):
    """What every command of this kind understands."""
    parser.add_argument("--connections", type=int, default=connections)
    parser.add_argument("--rate", type=int, default=5000, help="echoes a second, in all")
    parser.add_argument("--seconds", type=int, default=seconds, help="of a window")
    parser.add_argument("--rille", default=BUILD / "src" / "rille", type=Path)
    parser.add_argument("--load", default=BUILD / "spec" / "bench" / "load")


@contextlib.contextmanager
def scratch(script):
    """A folder in which a script of servers/ is the application."""
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.copy(HERE / "servers" / script, folder / "app.lua")
        yield folder
    finally:
        shutil.rmtree(folder)


def start(given, folder, *words, environment=None):
    """`rille run` of the folder: the process, and where it listens."""
    log = open(folder / "log", "w+")
    process = subprocess.Popen(
        [given.rille, "run", folder / "app.lua", "--listen", "127.0.0.1:0", "--workers", "1",
         "--no-access-log", *words],
        stderr=log, env={**os.environ, **(environment or {})})
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        found = LISTENING.search((folder / "log").read_text())
        if found:
            return process, found[1]
        time.sleep(0.02)
    process.kill()
    raise SystemExit("the server did not start:\n" + (folder / "log").read_text())


def window(given, target, meanwhile=None):
    """The figures of one run of load. `meanwhile` is called with it, once it runs."""
    load = subprocess.Popen(
        [given.load, "pace", "--calm", "-c", str(given.connections), "--rate", str(given.rate),
         "-t", str(given.seconds), "-w", "1", target + "/"],
        stdout=subprocess.PIPE, text=True)
    try:
        if meanwhile:
            meanwhile(load)
        out, _ = load.communicate()
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    if load.returncode != 0:
        raise SystemExit("something was lost: see above")
    return {k: float(v) for k, v in (pair.split("=") for pair in out.split()[1:])}


def head(given):
    print(f"{given.connections} connections, {given.rate} echoes/s, all answered; ms")
    print(f"{'':<10} {'echoes':>9} {'p50':>9} {'p99':>9} {'p99.9':>9} {'longest':>9}")


def show(name, figures):
    print(f"{name:<10} {figures['messages']:>9.0f} {figures['p50_us'] / 1e3:>9.2f} "
          f"{figures['p99_us'] / 1e3:>9.2f} {figures['p999_us'] / 1e3:>9.2f} "
          f"{figures['max_us'] / 1e3:>9.2f}", flush=True)
