"""WebSockets that stay connected while the server is replaced by another process.

    mover.py URL COUNT COMMAND…

COUNT connections, each with a window of its own for compression, tell and hear things before; COMMAND
runs; meanwhile some go on, one is in the middle of a message, one has a handler that sleeps a little
and one a handler that sleeps for long; then all of them tell and hear again. Prints one JSON object a
line: {"event": "connected"}, {"event": "replaced", status, output}, {"event": "through", closed: […]}.
"""
import asyncio
import json
import os
import random
import struct
import sys

import websockets

url, count, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
WORDS = ["".join(random.choices("abcdefghij", k=60)) for _ in range(40)]


def tell(event, **rest):
    print(json.dumps({"event": event, **rest}), flush=True)


async def connect(i, **options):
    return await websockets.connect(f"{url}/{i}", ping_interval=None, **options)


class Talker:
    """Numbered messages; each answer must be the one to the last."""

    def __init__(self, i, ws):
        self.i, self.ws, self.n, self.back = i, ws, 0, ""

    async def talk(self):
        self.n += 1
        text = f"{self.n} " + " ".join(random.choices(WORDS, k=30))
        await self.ws.send(text)
        answer = json.loads(await self.ws.recv())
        assert answer["text"] == text, (answer, text)
        assert answer["n"] == self.n, (answer, self.n)
        assert answer["id"] == self.i and answer["tags"] == [1, 2, "drei"], answer
        self.back = answer.get("back", "")


async def half_a_message():
    """A frame of which only the beginning is sent; returns how to send the rest."""
    reader, writer = await asyncio.open_connection(*url.split("/")[2].split(":"))
    path = "/" + url.split("/", 3)[3]
    writer.write(
        f"GET {path}/500 HTTP/1.1\r\nHost: {url.split('/')[2]}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x81\xfe" + struct.pack(">H", 200) + bytes(4) + b"x" * 100)
    await writer.drain()

    async def rest():
        writer.write(b"x" * 100)
        head = await reader.readexactly(2)
        length = head[1]
        if length == 126:
            length = struct.unpack(">H", await reader.readexactly(2))[0]
        answer = json.loads(await reader.readexactly(length))
        assert answer["text"] == "x" * 200 and answer["n"] == 1, answer

    return rest


async def main():
    talkers = [Talker(i, await connect(i)) for i in range(count)]
    for t in talkers:
        await t.talk()
        await t.talk()
    rest = await half_a_message()
    naps = await connect(600)
    sleeps = await connect(601)
    await sleeps.send("sleep")
    tell("connected")

    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    replaced = asyncio.Event()

    async def go_on(t):
        while not replaced.is_set():
            await t.talk()
            await asyncio.sleep(0.005)

    going = [asyncio.create_task(go_on(t)) for t in talkers[: count // 2]]
    await naps.send("nap")
    await asyncio.sleep(0.3)
    await rest()
    output, _ = await process.communicate()
    tell("replaced", status=process.returncode, output=output.decode())
    await asyncio.sleep(0.2)
    replaced.set()
    await asyncio.gather(*going)
    assert json.loads(await naps.recv())["text"] == "slept"

    for t in talkers:
        await t.talk()
    await talkers[0].ws.send("all")
    for t in talkers:
        assert await t.ws.recv() == "to all"
    closed = []
    if process.returncode == 0:
        try:
            await asyncio.wait_for(sleeps.recv(), 15)
        except websockets.ConnectionClosed as end:
            closed.append(end.code)
    tell("through", closed=closed, back=sorted({t.back for t in talkers}))
    os._exit(0)  # without a farewell to each


asyncio.run(main())
