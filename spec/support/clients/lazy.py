"""lazy.py PORT PATH TEXT SECONDS MESSAGES: a WebSocket that sends TEXT and then reads nothing for a
while, through a small window; at last it reads that many messages (0: it resets).

Prints {"event": "lazy"} when it has begun to rest, and {"event": "read", "bytes": …} at the end.
"""
import json
import socket
import struct
import sys
import time

port, path, text, seconds, messages = sys.argv[1:]
peer = socket.socket()
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
peer.settimeout(20)
peer.connect(("127.0.0.1", int(port)))
peer.sendall(
    (
        f"GET {path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
)
stream = peer.makefile("rb", buffering=0)
while stream.readline() != b"\r\n":
    pass
peer.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode())
print(json.dumps({"event": "lazy"}), flush=True)
time.sleep(float(seconds))


def take(n):
    got = 0
    while got < n:
        piece = stream.read(min(65536, n - got))
        if not piece:
            break
        got += len(piece)
        last = piece
    return last


total = 0
for _ in range(int(messages)):
    n = take(2)[-1]
    if n == 126:
        n = struct.unpack(">H", take(2))[0]
    elif n == 127:
        n = 0
        for _ in range(8):
            n = n * 256 + take(1)[0]
    take(n)
    total += n
if int(messages) == 0:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
print(json.dumps({"event": "read", "bytes": total}))
