"""crowd.py PORT PLAN: many WebSockets of one process, in a room.

PLAN: {"path": , "members": how many, "senders": of them, "messages": each sends,
       "kind": what stands in front of each message, "stay": wait for the server to close}
Each is greeted with "worker N". What a sender says, "KIND SENDER NUMBER", everybody is to hear
once, in the order in which that sender said it. Prints "open" with how many are on which worker,
then "heard" with what was wrong, and with "stay", at the end, "closed" with the codes and over how
many seconds they were spread.
"""
import collections
import json
import selectors
import socket
import sys
import time

port, plan = int(sys.argv[1]), json.loads(sys.argv[2])
shake = (
    f"GET {plan['path']} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
selector = selectors.DefaultSelector()


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Member:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(shake)
        self.buffer, self.shaken, self.worker = b"", False, None
        self.heard = collections.defaultdict(list)
        self.count, self.code, self.ended = 0, None, None
        selector.register(self.socket, selectors.EVENT_READ, self)

    def read(self):
        try:
            more = self.socket.recv(1 << 16)
        except ConnectionError:
            more = b""
        if not more:
            self.end()
            return
        self.buffer += more
        if not self.shaken:
            if b"\r\n\r\n" not in self.buffer:
                return
            self.buffer = self.buffer.split(b"\r\n\r\n", 1)[1]
            self.shaken = True
        at = 0
        while len(self.buffer) - at >= 2 and len(self.buffer) - at - 2 >= self.buffer[at + 1]:
            size = self.buffer[at + 1]  # below 126: these messages are short
            self.take(self.buffer[at] & 15, self.buffer[at + 2 : at + 2 + size])
            at += 2 + size
        self.buffer = self.buffer[at:]

    def take(self, opcode, payload):
        if opcode == 8:
            self.code = int.from_bytes(payload[:2], "big")
            self.send(8, payload[:2])
        elif opcode == 1:
            words = payload.decode().split()
            if words[0] == "worker":
                self.worker = words[1]
            else:
                self.heard[words[1]].append(int(words[2]))
                self.count += 1

    def send(self, opcode, payload):
        try:
            self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload)
        except ConnectionError:
            pass

    def end(self):
        self.ended = time.monotonic()
        selector.unregister(self.socket)
        self.socket.close()


def until(done):
    deadline = time.monotonic() + 18
    while not done() and time.monotonic() < deadline:
        for key, _ in selector.select(0.2):
            key.data.read()


members = [Member() for _ in range(plan["members"])]
until(lambda: all(m.worker is not None for m in members))
say("open", workers=collections.Counter(m.worker for m in members))

if plan.get("messages"):
    for n in range(plan["messages"]):
        for i in range(plan["senders"]):
            members[i].send(1, f"{plan['kind']} {i} {n}".encode())
        for key, _ in selector.select(0):
            key.data.read()
    wanted = plan["messages"] * plan["senders"]
    until(lambda: all(m.count >= wanted for m in members))
    right = {str(i): list(range(plan["messages"])) for i in range(plan["senders"])}
    say("heard", count=sum(m.count for m in members), wrong=sum(m.heard != right for m in members))

if plan.get("stay"):
    until(lambda: all(m.ended for m in members))
    times = [m.ended for m in members if m.ended]
    codes = collections.Counter(str(m.code) for m in members)
    say("closed", codes=codes, span=max(times, default=0) - min(times, default=0))
