"""mob.py PORT SECONDS PEERS: so many peers at a time that reset, stall, flood and half-close.

Each is of one habit and begins again when its connection has ended. After SECONDS nobody begins
any more, and whoever the server has not got rid of within PATIENCE more seconds is "left". Prints one event
"mob": for each habit [how often it began, how often the server ended it, how many were left].
"""
import asyncio
import json
import socket
import struct
import sys

port, seconds, peers = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
PATIENCE = 20
IP_BIND_ADDRESS_NO_PORT = 24

SHAKE = (
    "GET /echo HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
FRAME = b"\x81\xfe\x04\x00\0\0\0\0" + b"f" * 1024
PING = b"\x89\x80\0\0\0\0"
HUGE = b"\x82\xff" + struct.pack(">Q", 1 << 40) + b"\0\0\0\0"
GET = b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /sink HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"

loop = asyncio.new_event_loop()


async def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def half_close(peer):
    peer.shutdown(socket.SHUT_WR)
    return await listen(peer)


async def listen(peer):
    """Read until the server ends it."""
    while await loop.sock_recv(peer, 65536):
        pass
    return True


async def stall(peer):
    """Neither read nor write, but see the end: it shows in the socket's state."""
    while peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in (1, 5):  # established, fin-wait-2
        await asyncio.sleep(0.05)
    return True


async def shaken(peer):
    await loop.sock_sendall(peer, SHAKE)
    await loop.sock_recv(peer, 1000)


async def flood(peer, piece, reads=False):
    """Send without end, until the server has had enough."""
    task = loop.create_task(listen(peer)) if reads else None
    try:
        while not (task and task.done()):
            await asyncio.wait_for(loop.sock_sendall(peer, piece * 64), PATIENCE)
            await asyncio.sleep(0.02)
    finally:
        if task: # until it has ended, the loop watches a socket that is about to be closed
            task.cancel()
            await asyncio.wait([task])
    return True


def habit(before, then, *more, shake=False):
    async def run(peer):
        if shake:
            await shaken(peer)
        if before:
            await loop.sock_sendall(peer, before)
        return await then(peer, *more)

    return run


HABITS = {
    "resets at once": habit(b"", reset),
    "resets in a head": habit(SHAKE[:40], reset),
    "resets in a body": habit(POST + b"ff\r\nhalf", reset),
    "resets in a frame": habit(FRAME[:100], reset, shake=True),
    "resets before its echoes": habit(FRAME * 20, reset, shake=True),
    "resets before its answer": habit(GET % b"/much", reset),
    "stalls in a head": habit(SHAKE[:40], stall),
    "stalls in a body": habit(POST + b"ff\r\nhalf", stall),
    "stalls in a frame": habit(FRAME[:100], stall, shake=True),
    "stalls before its echoes": habit(FRAME * 2000, stall, shake=True),
    "stalls before its answer": habit(GET % b"/much", stall),
    "stalls between requests": habit(GET % b"/fine", stall),
    "floods with messages": habit(b"", flood, FRAME, shake=True),
    "floods with pings": habit(b"", flood, PING * 100, True, shake=True),
    "floods with a head": habit(b"GET / HTTP/1.1\r\nhost: x\r\n", flood, b"x: " + b"y" * 997 + b"\r\n", True),
    "floods with requests": habit(b"", flood, GET % b"/much"),
    "floods with noise": habit(b"", flood, b"\x16\x03\x01\0\xff\r\n", True),
    "announces much": habit(HUGE, listen, shake=True),
    "half-closes at once": habit(b"", half_close),
    "half-closes in a head": habit(SHAKE[:40], half_close),
    "half-closes in a body": habit(POST + b"ff\r\nhalf", half_close),
    "half-closes behind a request": habit(GET % b"/much", half_close),
    "half-closes a WebSocket": habit(FRAME, half_close, shake=True),
    "half-closes in a frame": habit(FRAME[:100], half_close, shake=True),
}
GONE = (ConnectionError, OSError)
counts = {name: [0, 0, 0] for name in HABITS}


async def one(name, count, source):
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        peer.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        peer.setblocking(False)
        peer.bind((source, 0))
        await loop.sock_connect(peer, ("127.0.0.1", port))
        count[0] += 1
        try:
            if await HABITS[name](peer):
                count[1] += 1
        except GONE:
            count[1] += 1


async def member(name, number, end):
    source = "127.0.0.%d" % (2 + number)  # one address would run out of ports
    while loop.time() < end:
        await one(name, counts[name], source)
        await asyncio.sleep(0.2 if name.startswith("resets") else 0)


async def main():
    end = loop.time() + seconds
    names = list(HABITS)
    tasks = {}
    for i in range(peers):
        name = names[i % len(names)]
        tasks[loop.create_task(member(name, i, end))] = name
    done, left = await asyncio.wait(tasks, timeout=seconds + PATIENCE)
    for task in done:
        task.result()  # or what it failed with
    for task in left:
        counts[tasks[task]][2] += 1
    print(json.dumps({"event": "mob", "counts": counts}), flush=True)
    for task in left:
        task.cancel()


loop.run_until_complete(main())
