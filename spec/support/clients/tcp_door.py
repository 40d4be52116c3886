"""tcp_door.py PORT URL: after a word on stdout, lets connections to PORT through to the PostgreSQL
of URL (host and port, or a folder with its socket as ?host=/…). Ends when it is killed or after a
minute."""
import asyncio
import json
import sys
from urllib.parse import parse_qs, unquote, urlsplit

url = urlsplit(sys.argv[2])
host = parse_qs(url.query).get("host", [unquote(url.hostname or "127.0.0.1")])[0]
port = parse_qs(url.query).get("port", [url.port or 5432])[0]


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def visitor(reader, writer):
    if host.startswith("/"):
        inner = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    else:
        inner = await asyncio.open_connection(host, int(port))
    await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer))


async def main():
    server = await asyncio.start_server(visitor, "127.0.0.1", int(sys.argv[1]))
    print(json.dumps({"event": "open"}), flush=True)
    async with server:
        await asyncio.sleep(60)


asyncio.run(main())
