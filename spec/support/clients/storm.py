"""storm.py PORT PATH COUNT: WebSockets and half requests that come and go, rudely.

Of COUNT connections every third resets at once, every third sends a piece of a request and
leaves, every third shakes hands for PATH, sends a message, and resets or vanishes. Prints how many
there were.
"""
import json
import socket
import struct
import sys

port, path, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
shake = (
    f"GET {path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
hello = b"\x81\x85\0\0\0\0hello"


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


for i in range(count):
    peer = socket.create_connection(("127.0.0.1", port))
    if i % 3 == 0:
        reset(peer)
    elif i % 3 == 1:
        peer.sendall(shake[: i % len(shake)])
    else:
        peer.sendall(shake)
        if i % 2:
            peer.recv(1000)
        peer.sendall(hello)
        if i % 4 < 2:
            reset(peer)
    peer.close()
print(json.dumps({"event": "done", "count": count}))
