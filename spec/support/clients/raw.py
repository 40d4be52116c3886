"""raw.py PORT STEPS: bytes over a TCP connection, exactly as told.

Steps: ["send", text]  latin-1, so that \\u00ff is one byte
       ["repeat", text, n]
       ["until", text]   read until this was received
       ["sleep", seconds]
       ["lull", seconds]   read until something came, and nothing more for so long
       ["await", path]   until there is such a file
       ["drip", bytes, seconds, times]   so often read at most that much, then rest
       ["finish"]        half-close: nothing more will be sent
       ["reset"], ["leave"]  go at once, with RST or FIN
Then reads until the server closes, for ten seconds at most. Prints what was received (latin-1),
how it ended ("closed", "reset" or "open": still open at the deadline) and how long that took.
"""
import json
import os
import socket
import struct
import sys
import time

peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
peer.settimeout(10)
received, ended = bytearray(), "closed"
started = time.monotonic()
try:
    for step in json.loads(sys.argv[2]):
        if step[0] in ("send", "repeat"):
            times = int(step[2]) if step[0] == "repeat" else 1
            try:
                peer.sendall(step[1].encode("latin-1") * times)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused half-way; what was said about it is read below
        elif step[0] == "until":
            while step[1].encode("latin-1") not in received:
                more = peer.recv(65536)
                if not more:
                    raise EOFError
                received += more
        elif step[0] == "lull":
            before = len(received)
            try:
                while True:
                    peer.settimeout(step[1] if len(received) > before else 10)
                    more = peer.recv(65536)
                    if not more:
                        raise EOFError
                    received += more
            except socket.timeout:
                peer.settimeout(10)
        elif step[0] == "sleep":
            time.sleep(step[1])
        elif step[0] == "await":
            while not os.path.exists(step[1]):
                time.sleep(0.01)
        elif step[0] == "drip":
            if step[1] < 4096:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(step[3]):
                more = peer.recv(step[1])
                if not more:
                    raise EOFError
                received += more
                time.sleep(step[2])
        elif step[0] == "finish":
            peer.shutdown(socket.SHUT_WR)
        elif step[0] == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise EOFError
        elif step[0] == "leave":
            raise EOFError
    started = time.monotonic()
    while True:
        more = peer.recv(65536)
        if not more:
            break
        received += more
except EOFError:
    pass
except ConnectionResetError:
    ended = "reset"
except socket.timeout:
    ended = "open"
peer.close()
print(json.dumps({
    "received": received.decode("latin-1"),
    "ended": ended,
    "seconds": time.monotonic() - started,
}))
