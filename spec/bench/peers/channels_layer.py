"""channels_layer.py consumer|asker MODE PORT: channels_redis between two processes, as
servers/layer.lua has it between two rilles.

The consumer is Channels' own, which an ASGI server would run, and answers what is asked through a
group. The asker reads lines "ask|tell SECONDS WINDOW EVERY" and prints how many answers there were,
or how many messages were had, and in how many seconds.
"""
import asyncio
import collections
import itertools
import sys

from django.conf import settings

role, mode, port = sys.argv[1], sys.argv[2], sys.argv[3]
backends = {"core": "channels_redis.core.RedisChannelLayer",
            "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer"}
settings.configure(CHANNEL_LAYERS={"default": {
    "BACKEND": backends[mode],
    "CONFIG": {"hosts": [f"redis://127.0.0.1:{port}"], "prefix": f"peer-{mode}"},
}})

import django  # noqa: E402

django.setup()

from channels.consumer import AsyncConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402

TEXT = "x" * 100


class Answerer(AsyncConsumer):
    async def begin(self, event):
        self.had = collections.Counter()
        await self.channel_layer.group_add("answerers", self.channel_name)
        print("ready", flush=True)

    async def ping(self, event):
        await self.channel_layer.send(event["reply"], {"type": "pong", "text": event["text"]})

    async def notice(self, event):
        reply = event["reply"]
        self.had[reply] += 1
        if self.had[reply] % event["every"] == 0:
            await self.channel_layer.send(reply, {"type": "had", "n": self.had[reply]})


async def be_consumer():
    events = asyncio.Queue()
    events.put_nowait({"type": "begin"})

    async def send(message):
        pass

    await Answerer.as_asgi()({"type": "websocket"}, events.get, send)


async def ask(layer, reply, every, turn):
    await layer.group_send("answerers", {"type": "ping", "reply": reply, "text": TEXT})
    answer = await asyncio.wait_for(layer.receive(reply), 5)
    assert answer["text"] == TEXT
    return 1


async def tell(layer, reply, every, turn):
    for _ in range(every):
        await layer.group_send("answerers", {
            "type": "notice", "reply": reply, "every": every, "text": TEXT})
    answer = await asyncio.wait_for(layer.receive(reply), 5)
    assert answer["n"] == every * turn, "messages are missing"
    return every


async def work(step, seconds, tasks, every):
    layer = get_channel_layer()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    done = 0

    async def go():
        nonlocal done
        reply = await layer.new_channel()
        for turn in itertools.count(1):
            more = await step(layer, reply, every, turn)
            done += more
            if loop.time() - begin > seconds:
                return

    await asyncio.gather(*(go() for _ in range(tasks)))
    return done, loop.time() - begin


async def be_asker():
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        what, seconds, window, every = line.split()
        step, tasks = (ask, int(window)) if what == "ask" else (tell, int(window) // int(every))
        print(*await work(step, float(seconds), tasks, int(every)), flush=True)


asyncio.run(be_consumer() if role == "consumer" else be_asker())
