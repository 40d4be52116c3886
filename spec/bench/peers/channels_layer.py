"""channels_layer.py consumer|asker MODE PORT: channels_redis between two processes, as
servers/layer.lua has it between two rilles.

The consumer is Channels' own, which an ASGI server would run, and answers what is asked through a
group. The asker reads lines "SECONDS WINDOW" and prints how many answers there were.
"""
import asyncio
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
        await self.channel_layer.group_add("answerers", self.channel_name)
        print("ready", flush=True)

    async def ping(self, event):
        await self.channel_layer.send(event["reply"], {"type": "pong", "text": event["text"]})


async def be_consumer():
    events = asyncio.Queue()
    events.put_nowait({"type": "begin"})

    async def send(message):
        pass

    await Answerer.as_asgi()({"type": "websocket"}, events.get, send)


async def ask(seconds, window):
    layer = get_channel_layer()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    answers = 0

    async def go():
        nonlocal answers
        reply = await layer.new_channel()
        while loop.time() < end:
            await layer.group_send("answerers", {"type": "ping", "reply": reply, "text": TEXT})
            answer = await asyncio.wait_for(layer.receive(reply), 5)
            assert answer["text"] == TEXT
            answers += 1

    await asyncio.gather(*(go() for _ in range(window)))
    return answers


async def be_asker():
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        seconds, window = line.split()
        print(await ask(float(seconds), int(window)), flush=True)


asyncio.run(be_consumer() if role == "consumer" else be_asker())
