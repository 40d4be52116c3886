"""notified.py PATH FILE: a service manager's socket at PATH ("@name": without a file); every
datagram goes to FILE, one a line, its own lines with spaces between."""
import socket
import sys

path, out = sys.argv[1], open(sys.argv[2], "w", buffering=1)
door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
door.settimeout(30)
door.bind("\0" + path[1:] if path.startswith("@") else path)
print("ready", file=out)
while True:
    text = door.recv(4096).decode()
    print(text.replace("\n", " "), file=out)
    if "STOPPING=1" in text:
        break
