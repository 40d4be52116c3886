"""tls.py PORT OPTIONS STEPS: TLS over a TCP connection, of which every byte is ours to send.

Options: {"ca": file, "name": server name, "drip": one byte a segment, "max": "1.2"}
Steps: ["send", text], ["repeat", text, n]
       ["until", text]   read until this was received
       ["sleep", seconds]
       ["end"]           close_notify: nothing more will be sent
       ["cut"]           FIN without a close_notify
Then reads until the server closes, for ten seconds at most. Prints what was received (its length
and the last 2000 bytes), and how it ended: "close_notify", "cut", "reset" or "open".
"""
import json
import socket
import ssl
import sys
import time

port, options, steps = int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
context = ssl.create_default_context(cafile=options["ca"])
context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
context.set_alpn_protocols(["http/1.1"])
if options.get("max") == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname=options.get("name", "localhost"))
peer = socket.create_connection(("127.0.0.1", port))
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
peer.settimeout(10)
received, eof = bytearray(), False


def flush():
    data = outgoing.read()
    size = 1 if options.get("drip") else len(data) or 1
    for at in range(0, len(data), size):
        peer.sendall(data[at:at + size])


def pull():
    global eof
    flush()
    data = peer.recv(65536)
    eof = not data
    incoming.write(data) if data else incoming.write_eof()


def call(fn, *arguments):
    """fn, once everything it wants is there; what it gave, b"" at the peer's close_notify."""
    while True:
        try:
            result = fn(*arguments)
            flush()
            return result
        except ssl.SSLWantReadError:
            if eof:
                raise EOFError
            pull()
        except ssl.SSLZeroReturnError:
            return b""


def read():
    data = call(tls.read, 65536)
    received.extend(data)
    return data


def play():
    for name, *rest in steps:
        if name in ("send", "repeat"):
            call(tls.write, rest[0].encode() * int(rest[1] if name == "repeat" else 1))
        elif name == "until":
            while rest[0].encode() not in received:
                if not read():
                    return
        elif name == "sleep":
            time.sleep(rest[0])
        elif name == "end":
            try:
                tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            flush()
        elif name == "cut":
            peer.shutdown(socket.SHUT_WR)


ended, version = "close_notify", None
try:
    call(tls.do_handshake)
    version = tls.version()
    play()
    while read():
        pass
except (EOFError, ssl.SSLEOFError):
    ended = "cut"
except (ConnectionResetError, BrokenPipeError):
    ended = "reset"
except socket.timeout:
    ended = "open"
except ssl.SSLError as error:
    eof = error.reason == "UNEXPECTED_EOF_WHILE_READING"
    ended = "cut" if eof else error.reason or str(error)
print(json.dumps({"received": received[-2000:].decode("latin-1"), "length": len(received),
                  "ended": ended, "version": version}))
