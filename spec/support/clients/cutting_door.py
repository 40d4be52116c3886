"""cutting_door.py PORT TIMES BYTES: says its own port and process, lets connections to it through to
PORT, and cuts the first TIMES of them after so many BYTES, wherever that is, with what is on its way.
Is there until SIGTERM: whoever was let through may leave and come again."""
import asyncio
import json
import os
import signal
import sys

inner_port, times, most = (int(word) for word in sys.argv[1:4])


class Visit:
    def __init__(self, cut):
        self.left = most if cut else None
        self.writers = []

    async def pump(self, reader, writer):
        self.writers.append(writer)
        try:
            while data := await reader.read(1000):
                if self.left is not None:
                    self.left -= len(data)
                    if self.left < 0:
                        break
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        for writer in self.writers:
            if self.left is not None and self.left < 0:
                writer.transport.abort()
            else:
                writer.close()


async def visitor(reader, writer):
    global times
    visit = Visit(times > 0)
    times -= 1
    inner = await asyncio.open_connection("127.0.0.1", inner_port)
    await asyncio.gather(visit.pump(reader, inner[1]), visit.pump(inner[0], writer))


async def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = await asyncio.start_server(visitor, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"event": "open", "port": port, "pid": os.getpid()}), flush=True)
    await server.serve_forever()


asyncio.run(main())
