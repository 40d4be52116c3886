"""at.py WHERE OPTIONS: one HTTP request by a bare socket, to HOST:PORT, [IPV6]:PORT, unix:PATH or
unix:@NAME; prints status, headers and body. `before`: bytes (in hex) that go ahead of the request;
`cut`: in pieces of so many bytes. Without an answer: {"closed": true}, and after how many seconds."""
import json
import socket
import sys
import time

where, options = sys.argv[1], json.loads(sys.argv[2])
if where.startswith("unix:"):
    name = where[5:]
    door = socket.socket(socket.AF_UNIX)
    target = "\0" + name[1:] if name.startswith("@") else name
else:
    host, port = where.rsplit(":", 1)
    door = socket.socket(socket.AF_INET6 if host[0] == "[" else socket.AF_INET)
    target = (host.strip("[]"), int(port))
door.settimeout(15)
began = time.monotonic()
try:
    door.connect(target)
    data = bytes.fromhex(options.get("before", ""))
    if "path" in options:
        head = ["GET %s HTTP/1.1" % options["path"], "connection: close"]
        fields = options.get("headers", [])
        if not any(name.lower() == "host" for name, _ in fields):
            head.append("host: server.test")
        head += ["%s: %s" % (name, value) for name, value in fields]
        data += ("\r\n".join(head) + "\r\n\r\n").encode()
    step = options.get("cut") or len(data) or 1
    for at in range(0, len(data), step):
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) if where[:5] != "unix:" else None
        door.sendall(data[at:at + step])
        if step < len(data):
            time.sleep(0.002)
    answer = b""
    while True:
        piece = door.recv(65536)
        if not piece:
            break
        answer += piece
except (ConnectionResetError, BrokenPipeError):
    answer = b""
except OSError as err:
    print(json.dumps({"error": str(err)}))
    sys.exit()
if not answer:
    print(json.dumps({"closed": True, "seconds": time.monotonic() - began}))
    sys.exit()
head, _, body = answer.partition(b"\r\n\r\n")
lines = head.decode("latin-1").split("\r\n")
fields = {name.lower(): value.strip() for name, _, value in (l.partition(":") for l in lines[1:])}
print(json.dumps({"status": int(lines[0].split()[1]), "headers": fields,
                  "body": body.decode("utf-8", "replace")}))
