"""machines.py PLAN: members and senders on several servers, and what became of each message.

PLAN: {"servers": {name: port}, "rooms": "/rooms/all", "members": per server, "every": seconds
between messages, "folder": where files tell it what to do}
Each server has so many members of one room, and a sender of its own room that sends to it:
"say NAME NUMBER" is answered with "ok" or "refused", and members hear {"text": "NAME NUMBER"}.
Whoever loses his connection comes again, as another.

A file "NAME.gone" in the folder: that server is dead; its sender rests, and its members are not
looked for, until "NAME.port" has its new port. A file "end": senders stop, and what they said last
is waited for. Then prints "done", with

    sent, refused, unanswered    of messages, by what the sender was told
    wrong    twice, or out of the order of their sender
    missing  [member, message, how]: a member was there when it was sent and said to be sent, and
             has not heard it; "told" when the layer told him of an outage after it was sent
    last     how many members have heard the last message of each sender
"""
import asyncio
import collections
import json
import os
import sys
import time

import websockets

plan = json.loads(sys.argv[1])
folder = plan["folder"]
members, messages = [], {}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def file(name):
    try:
        with open(os.path.join(folder, name)) as f:
            return f.read()
    except FileNotFoundError:
        return None


class Member:
    def __init__(self, name):
        self.name, self.since, self.until = name, time.monotonic(), None
        self.heard, self.told = [], []
        members.append(self)


async def connect(name, room):
    port = plan["servers"][name]
    return await websockets.connect(
        f"ws://127.0.0.1:{port}{plan['path']}{room}", ping_interval=None, close_timeout=1)


async def be_member(name):
    while not ended():
        try:
            ws = await connect(name, "all")
            assert (await ws.recv()).startswith("I am ")
        except (OSError, websockets.WebSocketException):
            await asyncio.sleep(0.05)
            continue
        member = Member(name)
        try:
            async for text in ws:
                if text == "reconnected":
                    member.told.append(time.monotonic())
                elif text.startswith("heard "):
                    member.heard.append(json.loads(text[6:])["text"])
        except websockets.WebSocketException:
            pass
        member.until = time.monotonic()


def ended():
    return file("end") is not None


async def be_sender(name):
    number = 0
    while not ended():
        try:
            ws = await connect(name, f"desk-{name}")
            await ws.recv()
            while not ended():
                number += 1
                text = f"{name} {number}"
                messages[text] = {"at": time.monotonic(), "answer": None}
                await ws.send("say all " + text)
                while True:
                    answer = await asyncio.wait_for(ws.recv(), 15)
                    if answer.startswith(("ok", "refused")):
                        break
                messages[text]["answer"] = answer.split()[0]
                messages[text]["done"] = time.monotonic()
                await asyncio.sleep(plan["every"])
        except (OSError, websockets.WebSocketException):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0)


async def follow_files():
    while True:
        for name in plan["servers"]:
            port = file(f"{name}.port")
            if port:
                plan["servers"][name] = int(port)
        await asyncio.sleep(0.02)


def missing_of(member, until):
    heard = set(member.heard)
    for text, message in messages.items():
        if message["answer"] != "ok" or text in heard:
            continue
        there = member.since + 0.2 < message["at"]
        if there and (member.until is None or message["done"] < member.until - 0.2):
            told = any(at > message["at"] for at in member.told)
            yield [member.name, text, "told" if told else "silently"]


def wrong_of(member):
    last = collections.defaultdict(int)
    for text in member.heard:
        name, number = text.split()
        if int(number) <= last[name]:
            yield f"{member.name} heard {text} after {last[name]}"
        last[name] = int(number)


async def main():
    asyncio.create_task(follow_files())
    for name in plan["servers"]:
        for _ in range(plan["members"]):
            asyncio.create_task(be_member(name))
    while len(members) < plan["members"] * len(plan["servers"]):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    say("ready")
    senders = [asyncio.create_task(be_sender(name)) for name in plan["servers"]]
    await asyncio.gather(*senders)
    here = [m for m in members if m.until is None]
    last = [max((t for t in messages if t.startswith(f"{name} ") and
                 messages[t]["answer"] == "ok"), key=lambda t: int(t.split()[1]))
            for name in plan["servers"]]
    for _ in range(250):
        count = [sum(text in m.heard for m in here) for text in last]
        if all(n == len(here) for n in count):
            break
        await asyncio.sleep(0.02)
    answers = collections.Counter(m["answer"] for m in messages.values())
    missing = [row for m in members for row in missing_of(m, None)]
    say("done", sent=answers["ok"], refused=answers["refused"], unanswered=answers[None],
        wrong=[line for m in members for line in wrong_of(m)],
        told=sum(1 for m in here if m.told), here=len(here), last=count,
        silently=[row for row in missing if row[2] == "silently"],
        missing=len(missing))
    os._exit(0)


asyncio.run(main())
