"""deflate.py: permessage-deflate, from the client's side; one JSON object a line.

echo URL OFFER: Python's websockets sends messages of many sizes, with these parameters, and wants
  each back. Events: agreed {terms}, done {messages}, wrong {size}.
raw PORT PATH HEADER FRAMES: a handshake with this Sec-WebSocket-Extensions, then the frames:
  {"first": n, "hex": payload}, or {"first": n, "of": m}, m bytes of one kind, compressed.
  Events: answer {status, extensions}, frame {first, length}, closed {code}.
many URL N SECONDS: N connections with a message each, which then idle so long. Event: idle."""
import asyncio
import json
import os
import random
import socket
import struct
import sys
import zlib

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate


def tell(event, **rest):
    print(json.dumps({"event": event, **rest}), flush=True)


async def echo(url, offer):
    rng = random.Random(7)
    words = ["alpha", "beta", "γάμμα", '{"delta": 4}', "€"]
    async with websockets.connect(
        url, compression=None, extensions=[Deflate(**offer)], max_size=None
    ) as ws:
        tell("agreed", terms=ws.response_headers.get("Sec-WebSocket-Extensions", ""))
        count = 0
        for size in (0, 1, 1023, 1024, 1025, 70000):
            text = "".join(rng.choice(words) for _ in range(size // 4 + 1))[:size]
            for message in (text, "x" * size, rng.randbytes(size), text):
                await ws.send(message)
                if await ws.recv() != message:
                    tell("wrong", size=size)
                count += 1
        await ws.send(["in ", "three ", "frames" * 1000])
        if await ws.recv() != "in three " + "frames" * 1000:
            tell("wrong", size=-1)
        tell("done", messages=count + 1)


def frame(spec):
    payload = bytes.fromhex(spec.get("hex", ""))
    if "of" in spec:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        payload = deflater.compress(b"z" * spec["of"]) + deflater.flush(zlib.Z_SYNC_FLUSH)
        payload = payload[:-4]
    n = len(payload)
    if n < 126:
        length = bytes([0x80 | n])
    elif n < 65536:
        length = b"\xfe" + struct.pack(">H", n)
    else:
        length = b"\xff" + struct.pack(">Q", n)
    return bytes([spec["first"]]) + length + b"\0\0\0\0" + payload


def raw(port, path, header, frames):
    sock = socket.create_connection(("127.0.0.1", int(port)), 5)
    sock.settimeout(5)
    sock.sendall(
        (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Extensions: {header}\r\n\r\n"
        ).encode()
    )
    stream = sock.makefile("rb")
    status = int(stream.readline().split()[1])
    extensions = ""
    for line in iter(stream.readline, b"\r\n"):
        name, value = line.decode().split(":", 1)
        if name.lower() == "sec-websocket-extensions":
            extensions = value.strip()
    tell("answer", status=status, extensions=extensions)
    if status != 101:
        return
    for spec in frames:
        sock.sendall(frame(spec))
    while True:
        head = stream.read(2)
        if len(head) < 2:
            return tell("closed", code=0)
        n = head[1]
        if n == 126:
            n = struct.unpack(">H", stream.read(2))[0]
        payload = stream.read(n)
        if head[0] == 0x88:
            return tell("closed", code=struct.unpack(">H", payload[:2])[0] if payload else 1005)
        tell("frame", first=head[0], length=n)


async def many(url, n):
    opened = []
    for _ in range(n):
        opened.append(await websockets.connect(url, compression=None, extensions=[Deflate()]))
    for ws in opened:
        await ws.send("many " * 1000)
    for ws in opened:
        assert await ws.recv() == "many " * 1000
    tell("idle", connections=len(opened))
    await asyncio.sleep(float(sys.argv[4]))
    os._exit(0)  # without a word to anybody


if sys.argv[1] == "echo":
    asyncio.run(echo(sys.argv[2], json.loads(sys.argv[3]) or {}))
elif sys.argv[1] == "many":
    asyncio.run(many(sys.argv[2], int(sys.argv[3])))
else:
    raw(sys.argv[2], sys.argv[3], sys.argv[4], json.loads(sys.argv[5]))
