"""needy.py PORT COUNT: WebSockets to spec/support/apps/needy.lua, each of which finds COUNT blocks
of memory refused: from the first that is asked for, from the second, and so on, until one ends
before there is anything to refuse. Prints how many there were, and in how many ways they ended.
"""
import collections
import http.client
import itertools
import json
import socket
import sys

port, count = (int(word) for word in sys.argv[1:])
SHAKE = (
    "GET /needy?name=ann HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
WORDS = b"some words"
MESSAGE = bytes([0x81, 0x80 + len(WORDS), 0, 0, 0, 0]) + WORDS
GOODBYE = b"\x88\x82\0\0\0\0\x03\xe8"


def get(path):
    peer = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        peer.request("GET", path)
        answer = peer.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException:
        return 0, b""
    finally:
        peer.close()


def grant():
    for _ in range(count + 1):  # the question itself may find what it needs refused
        status, body = get("/grant")
        if status == 200:
            return int(body)
    raise SystemExit("no answer")


class Peer:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.buffer = b""

    def more(self):
        piece = self.socket.recv(4096)
        self.buffer += piece
        return piece

    def frame(self):
        """The first byte and the payload of a short one; None at the end."""
        while len(self.buffer) < 2 or len(self.buffer) < 2 + self.buffer[1]:
            if not self.more():
                return None
        size = 2 + self.buffer[1]
        frame, self.buffer = self.buffer[:size], self.buffer[size:]
        return frame[0], frame[2:]


def session():
    peer = Peer()
    peer.socket.sendall(SHAKE)
    while b"\r\n\r\n" not in peer.buffer and peer.more():
        pass
    head, _, peer.buffer = peer.buffer.partition(b"\r\n\r\n")
    status = head.split(b" ")[1].decode() if head else "no answer"
    if status != "101":
        return status
    peer.socket.sendall(MESSAGE)
    said = "nothing"
    while True:
        frame = peer.frame()
        if frame is None:
            return said + ", no close"
        if frame[0] == 0x88:
            return said + ", " + str(int.from_bytes(frame[1][:2], "big"))
        if frame[1][:1] != b"[":
            said = frame[1].decode()
            peer.socket.sendall(GOODBYE)


ends = collections.Counter()
before = grant()
for after in itertools.count():
    get(f"/refuse/{after}/{count}")  # whatever it answers: it may be the first to be refused
    ends[session()] += 1
    refused = grant()
    if refused == before:
        break
    before = refused
print(json.dumps({"event": "done", "count": after, "ends": ends}))
