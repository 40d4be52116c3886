"""corpus.py PORT FILE: many requests at once, each over connections of its own.

FILE holds a JSON list of [text, ends]: the bytes to send (latin-1), and whether to half-close behind
them. Each goes out twice: whole, and in pieces. Prints for each an event with what was answered,
both times: ["200 GET /; 400", "closed"]: status and x-saw of each answer, and how the connection
ended: "closed", "reset", or "open" when nothing happened for some seconds.
"""
import json
import selectors
import socket
import sys
import time

PATIENCE = 8  # seconds, for all


class Exchange:
    def __init__(self, port, data, ends, step):
        self.left, self.ends, self.step = data, ends, step
        self.received, self.ended = b"", "open"
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def write(self):
        try:
            sent = self.socket.send(self.left[: self.step])
        except (BrokenPipeError, ConnectionResetError):
            sent = len(self.left)  # refused half-way; what was said about it is read below
        self.left = self.left[sent:]
        if not self.left and self.ends:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def read(self):
        try:
            more = self.socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.ended = "reset"
            return
        self.received += more
        if not more:
            self.ended = "closed"


def cut(text, mark):
    head, found, rest = text.partition(mark)
    return (head, rest) if found else (text, None)


def chunks(rest):
    """What stands behind a chunked body; None when it is not whole."""
    while True:
        size, rest = cut(rest, b"\r\n")
        if rest is None:
            return None
        n = int(size, 16)
        if len(rest) < n + 2 or rest[n : n + 2] != b"\r\n":
            return None
        rest = rest[n + 2 :]
        if n == 0:
            return rest


def answers(rest):
    told = []
    while rest:
        head, rest = cut(rest, b"\r\n\r\n")
        if rest is None:
            return told + ["half a head: %r" % head]
        lines = head.decode("latin-1").split("\r\n")
        status = lines[0].split(" ")[1]
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        saw = dict(line.split(": ", 1) for line in lines[1:]).get("x-saw", "")
        told.append((status + " " + saw).strip())
        if status[0] != "1" and "date" not in fields:
            told[-1] += " without a date"
        if status[0] == "1" or status in ("204", "304"):
            if "content-length" in fields or "transfer-encoding" in fields:
                told[-1] += " with a length"
        elif saw.startswith("HEAD"):
            pass  # has the length of what it leaves out
        elif fields.get("transfer-encoding") == "chunked":
            rest = chunks(rest)
        else:
            n = int(fields["content-length"])
            rest = rest[n:] if len(rest) >= n else None
        if rest is None:
            return told + ["half a body"]
    return told


port = int(sys.argv[1])
exchanges = []
watch = selectors.DefaultSelector()
for text, ends in json.load(open(sys.argv[2], encoding="utf-8")):
    data = text.encode("latin-1")
    for step in (len(data), max(7, len(data) // 50)):
        one = Exchange(port, data, ends, step)
        exchanges.append(one)
        watch.register(one.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, one)

deadline = time.monotonic() + PATIENCE
while watch.get_map() and time.monotonic() < deadline:
    for key, events in watch.select(0.1):
        one = key.data
        if events & selectors.EVENT_READ:
            one.read()
        if one.ended != "open":
            watch.unregister(one.socket)
            one.socket.close()
        elif events & selectors.EVENT_WRITE:
            one.write()
            if not one.left:
                watch.modify(one.socket, selectors.EVENT_READ, one)

for whole, pieces in zip(exchanges[::2], exchanges[1::2]):
    print(json.dumps({
        "event": "answered",
        "whole": ["; ".join(answers(whole.received)), whole.ended],
        "pieces": ["; ".join(answers(pieces.received)), pieces.ended],
    }))
