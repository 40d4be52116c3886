"""hold.py COUNT URL [COUNT URL …]: WebSockets of Python's websockets that only listen.

Each has a number, from 0. When all are there: {"event": "open"}. Then {"event": "message", "at": 3,
"data": "…"} and {"event": "close", "at": 3, "code": 1012} as they come; the end is when all are
closed.
"""
import asyncio
import json
import sys

import websockets


def show(event, **rest):
    print(json.dumps({"event": event, **rest}), flush=True)


async def listen(at, ws):
    try:
        while True:
            show("message", at=at, data=await ws.recv())
    except websockets.exceptions.ConnectionClosed:
        pass
    await ws.wait_closed()
    show("close", at=at, code=ws.close_code)


async def main():
    words, sockets = sys.argv[1:], []
    while words:
        count, url, *words = words
        for _ in range(int(count)):
            sockets.append(await websockets.connect(url, compression=None, open_timeout=20))
    show("open")
    await asyncio.gather(*(listen(at, ws) for at, ws in enumerate(sockets)))


asyncio.run(main())
