"""activate.py NAME=ADDRESS… -- COMMAND…: what systemd does for a socket unit. Opens the sockets
(HOST:PORT or unix:PATH) and becomes the command, with them from descriptor 3 on."""
import os
import socket
import sys

at = sys.argv.index("--")
command, names, doors = sys.argv[at + 1:], [], []
for word in sys.argv[1:at]:
    name, address = word.split("=", 1)
    if address.startswith("unix:"):
        door = socket.socket(socket.AF_UNIX)
        door.bind(address[5:])
    else:
        door = socket.socket()
        door.bind((address.rsplit(":", 1)[0], int(address.rsplit(":", 1)[1])))
    door.listen(16)
    names.append(name)
    doors.append(os.dup(door.fileno()))
doors = [os.dup2(fd, 100 + i) for i, fd in enumerate(doors)]
for i, fd in enumerate(doors):
    os.dup2(fd, 3 + i, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(doors)), LISTEN_PID=str(os.getpid()),
                  LISTEN_FDNAMES=":".join(names))
os.execvp(command[0], command)
