"""tls_storm.py PORT CA N: N ClientHellos at once, while one connection that stands asks and asks.

Prints how long the storm took (until every hello had its answer), and the longest that the one
connection waited, in it and before, in seconds. The hellos are one, copied, so that this side has
nothing to compute.
"""
import json
import select
import socket
import ssl
import sys
import time

port, ca, n = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
context = ssl.create_default_context(cafile=ca)
raw = socket.create_connection(("127.0.0.1", port))
asker = context.wrap_socket(raw, server_hostname="localhost")
asker.settimeout(20)


def ask():
    began = time.monotonic()
    asker.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    while not asker.recv(65536).endswith(b"}"):
        pass
    return time.monotonic() - began


def hello():
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


ask()
calm = max(ask() for _ in range(50))
peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(n)]
answers = select.poll()
for peer in peers:
    answers.register(peer, select.POLLIN)
first = hello()
began, longest, asked = time.monotonic(), 0, 0
for peer in peers:
    peer.send(first)
while True:
    longest, asked = max(longest, ask()), asked + 1
    for fd, _ in answers.poll(0):
        answers.unregister(fd)
        n -= 1
    if n == 0:
        break
print(json.dumps({"storm": time.monotonic() - began, "longest": longest, "calm": calm,
                  "asked": asked}))
