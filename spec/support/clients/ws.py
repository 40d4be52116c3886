"""ws.py URL STEPS [OPTIONS]: Python's websockets, with the steps and events of ws.js."""
import asyncio
import json
import socket
import ssl
import struct
import sys

import websockets

url, steps = sys.argv[1], list(json.loads(sys.argv[2]))
options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}


def show(event, **rest):
    print(json.dumps({"event": event, **rest}), flush=True)


async def run(ws):
    sent, last, messages = b"", None, 0
    show("open", protocol=ws.subprotocol or "")

    async def read():
        nonlocal last, messages
        data = await ws.recv()
        messages += 1
        raw = data if isinstance(data, bytes) else data.encode()
        last = None if isinstance(data, bytes) else data
        short = raw.hex() if isinstance(data, bytes) else data
        rest = {"data": short} if len(raw) <= 2000 else {}
        kind = "bytes" if isinstance(data, bytes) else "text"
        show("message", kind=kind, length=len(raw), same=raw == sent, **rest)

    expected = 0
    for name, *rest in steps:
        if name == "text":
            text = rest[0] * (rest[1] if len(rest) > 1 else 1)
            sent = text.encode()
            await ws.send(text)
        elif name == "bytes":
            sent = bytes.fromhex(rest[0])
            await ws.send(sent)
        elif name == "fragments":
            sent = "".join(rest).encode()
            await ws.send(rest)
        elif name == "ping":
            await asyncio.wait_for(await ws.ping(rest[0]), 10)
            show("pong", data=rest[0])
        elif name == "receive":
            expected += rest[0] if rest else 1
            while messages < expected:
                await read()
        elif name == "until":
            while last != rest[0]:
                await read()
        elif name == "sleep":
            await asyncio.sleep(rest[0] / 1000)
        elif name == "close":
            await ws.close(*rest)
        elif name == "reset":
            linger = struct.pack("ii", 1, 0)
            peer = ws.transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            ws.transport.abort()
            return
        elif name == "vanish":
            ws.transport.abort()
            return
    while True:
        await read()


async def main():
    try:
        ws = await websockets.connect(
            url,
            extra_headers=options.get("headers"),
            origin=options.get("origin"),
            subprotocols=options.get("protocols"),
            ssl=ssl.create_default_context(cadata=options["ca"]) if "ca" in options else None,
            compression=None,
            max_size=None,
            open_timeout=20,
        )
    except websockets.exceptions.InvalidStatusCode as refusal:
        show("refused", status=refusal.status_code, headers=dict(refusal.headers))
        return
    try:
        await run(ws)
    except websockets.exceptions.ConnectionClosed:
        pass
    await ws.wait_closed()
    show("close", code=ws.close_code, reason=ws.close_reason)


asyncio.run(main())
