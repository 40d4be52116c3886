"""fault_door.py FOLDER PORT: a way to the server at PORT of loopback that can be closed.

Writes its own port to FOLDER/door, then goes by what FOLDER/mode says:

  pass    lets everything through
  stuck   takes connections and forwards nothing, in no direction, and nobody is told
  old     forwards nothing on the connections it has, but lets new ones through
  refuse  hangs up on who comes

FOLDER/visitors holds how many have come. Ends when the folder is gone, or after two minutes."""
import asyncio
import os
import sys

folder, target = sys.argv[1], int(sys.argv[2])
mode, epoch, visitors = "pass", 0, 0


def write(name, text):
    with open(f"{folder}/{name}.new", "w") as file:
        file.write(text)
    os.rename(f"{folder}/{name}.new", f"{folder}/{name}")


async def passable(born):
    while mode == "stuck" or (mode == "old" and born < epoch):
        await asyncio.sleep(0.01)


async def pump(born, reader, writer):
    try:
        while True:
            data = await reader.read(65536)
            await passable(born)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def visitor(reader, writer):
    global visitors
    visitors += 1
    born = epoch
    write("visitors", str(visitors))
    await passable(born)
    try:
        if mode == "refuse":
            raise ConnectionError
        inner = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(born, reader, inner[1]), pump(born, inner[0], writer))


async def main():
    global mode, epoch
    server = await asyncio.start_server(visitor, "127.0.0.1", 0)
    write("now", mode)
    write("door", str(server.sockets[0].getsockname()[1]))
    for _ in range(12000):
        await asyncio.sleep(0.01)
        try:
            wanted = open(f"{folder}/mode").read().strip()
        except FileNotFoundError:
            break
        if wanted != mode:
            mode, epoch = wanted, epoch + 1
            write("now", wanted)


asyncio.run(main())
