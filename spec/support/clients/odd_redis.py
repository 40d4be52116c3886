"""A Redis that answers oddly, on a free port of the loopback, which it writes into a file.

usage: odd_redis.py FILE

Every reply leaves byte by byte. It knows CLIENT, PING, ECHO, and
  NEST       an array of arrays, nils and a refusal
  JUNK       something that is no reply
  TWICE      two replies where one was asked for
  CUT        half a reply, and hangs up
  DEEP       arrays that are nested deeper than any client takes
"""
import os
import socket
import sys
import threading

REPLIES = {
    b"CLIENT": b"+OK\r\n",
    b"PING": b"+PONG\r\n",
    b"NEST": b"*4\r\n$3\r\n\r\n\n\r\n*2\r\n:-7\r\n*0\r\n$-1\r\n-ODD it is\r\n",
    b"JUNK": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"TWICE": b"+once\r\n+twice\r\n",
    b"CUT": b"$5\r\nhal",
    b"DEEP": b"*1\r\n" * 20 + b":1\r\n",
}


def bulk(data):
    return b"$%d\r\n%s\r\n" % (len(data), data)


def serve(conn):
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = conn.makefile("rb")
    while line := stream.readline():
        words = []
        for _ in range(int(line[1:])):
            size = int(stream.readline()[1:])
            words.append(stream.read(size + 2)[:-2])
        name = words[0].upper()
        reply = bulk(words[1]) if name == b"ECHO" else REPLIES[name]
        for i in range(len(reply)):
            conn.sendall(reply[i : i + 1])
        if name == b"CUT":
            conn.shutdown(socket.SHUT_RDWR)
            return


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    with open(sys.argv[1] + ".new", "w") as out:
        out.write(str(listener.getsockname()[1]))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(conn,), daemon=True).start()


main()
