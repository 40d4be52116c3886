"""Who is measured, how each is found on the machine, and how it is started."""

import os
import shutil
import socket
from pathlib import Path

from harness import BUILD, HERE, Skip, progress


class Peer:
    """Something to measure. `find` raises Skip where it cannot be had."""

    raw = False  # answers bytes, not WebSocket frames
    port = None  # fixed beforehand, for a server that does not say where it listens

    def find(self, bench):
        pass

    def command(self, bench):
        raise NotImplementedError


class Rille(Peer):
    name = "rille"

    def __init__(self, binary, script, *options):
        self.binary = binary
        self.script = HERE / "servers" / script
        self.options = options

    def find(self, bench):
        if not os.access(self.binary, os.X_OK):
            raise Skip(f"no program at {self.binary}")

    def command(self, bench):
        return [self.binary, "run", self.script, "--listen", "127.0.0.1:0", "--workers", "1",
                "--log-level", "warn", *self.options], {}


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

    def find(self, bench):
        if not shutil.which("node"):
            raise Skip("no node on this machine")
        if (self.modules / "ws").is_dir():
            return
        if not shutil.which("npm"):
            raise Skip("no npm on this machine")
        progress("installing ws with npm …")
        self.modules.parent.mkdir(parents=True, exist_ok=True)
        status, output = bench.call(
            ["npm", "install", "--prefix", self.modules.parent, "--no-audit", "--no-fund",
             "--ignore-scripts", *self.packages], 90)
        if status != 0 or not (self.modules / "ws").is_dir():
            errors = [line.strip() for line in output.splitlines() if "error" in line.lower()]
            raise Skip("npm could not install ws: " + (errors or ["no reason given"])[0])

    def command(self, bench):
        return ["node", HERE / "peers" / "node_ws.js"], {"NODE_PATH": str(self.modules)}


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
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
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
