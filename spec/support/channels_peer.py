"""channels_peer.py core|pubsub CONFIG: a process with channels_redis, as a Django site has it.

CONFIG is JSON, the arguments of its channel layer (`hosts`, `prefix`, `capacity`, …). Commands
come as JSON, one a line on standard input, and are worked off side by side; each is answered by a
line with its "id". What is not JSON, bytes, is {"$bytes": "hex"} both ways.

    {"id": 1, "do": "new_channel"}                     → {"id": 1, "value": "specific.…!…"}
    {"id": 2, "do": "group_add", "group": …, "channel": …}      and group_discard
    {"id": 3, "do": "send", "channel": …, "message": {…}}
    {"id": 4, "do": "group_send", "group": …, "message": {…}, "times": 1}
                                        with "times", the message's "n" counts from 1
    {"id": 5, "do": "receive", "channel": …, "seconds": 5}      → its message, or null
    {"id": 6, "do": "listen", "channel": …}                     from now on received and kept
    {"id": 7, "do": "heard", "channel": …, "count": 3, "seconds": 5}
                                        → the messages kept so far, when there are so many
    {"id": 8, "do": "end"}

A failed command is answered with {"id": …, "error": "ChannelFull", "text": …}.
"""
import asyncio
import json
import os
import sys

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

LAYERS = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}


def to_json(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": bytes(value).hex()}
    raise TypeError(f"a {type(value).__name__} in a message")


def from_json(pairs):
    return bytes.fromhex(pairs["$bytes"]) if pairs.keys() == {"$bytes"} else pairs


def say(**line):
    print(json.dumps(line, default=to_json), flush=True)


class Peer:
    def __init__(self, layer):
        self.layer = layer
        self.kept = {}  # channel to the messages that came
        self.news = asyncio.Condition()

    async def new_channel(self):
        return await self.layer.new_channel()

    async def group_add(self, group, channel):
        await self.layer.group_add(group, channel)

    async def group_discard(self, group, channel):
        await self.layer.group_discard(group, channel)

    async def send(self, channel, message, times=0):
        await self.repeat(self.layer.send, channel, message, times)

    async def group_send(self, group, message, times=0):
        await self.repeat(self.layer.group_send, group, message, times)

    async def repeat(self, send, name, message, times):
        if not times:
            return await send(name, message)
        for n in range(1, times + 1):
            await send(name, {**message, "n": n})

    async def receive(self, channel, seconds=5):
        try:
            return await asyncio.wait_for(self.layer.receive(channel), seconds)
        except asyncio.TimeoutError:
            return None

    async def listen(self, channel):
        self.kept[channel] = []
        asyncio.create_task(self.keep(channel))
        await asyncio.sleep(0)

    async def keep(self, channel):
        while True:
            try:
                message = await self.layer.receive(channel)
            except OSError:  # the server is away
                await asyncio.sleep(0.05)
                continue
            except Exception as error:
                if type(error).__module__.split(".")[0] != "redis":
                    raise
                await asyncio.sleep(0.05)
                continue
            async with self.news:
                self.kept[channel].append(message)
                self.news.notify_all()

    async def heard(self, channel, count=0, seconds=5):
        kept = self.kept[channel]
        async with self.news:
            try:
                enough = self.news.wait_for(lambda: len(kept) >= count)
                await asyncio.wait_for(enough, seconds)
            except asyncio.TimeoutError:
                pass
        return kept

    async def end(self):
        os._exit(0)  # whatever still waits for a message

    async def run(self, id, do, **arguments):
        try:
            value = await getattr(self, do)(**arguments)
        except Exception as error:
            say(id=id, error=type(error).__name__, text=str(error))
        else:
            say(id=id, value=value)


async def main():
    peer = Peer(LAYERS[sys.argv[1]](**json.loads(sys.argv[2])))
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say(event="ready")
    running = set()
    while line := await lines.readline():
        task = asyncio.create_task(peer.run(**json.loads(line, object_hook=from_json)))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
