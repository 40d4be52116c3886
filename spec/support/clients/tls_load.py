"""tls_load.py PORT CA: requests without a pause, each on a connection of its own, and between
them one on a connection that stays, until a certificate is shown that was not there at first, and
twenty more. Prints {"event": "first"} once it runs, then the names that were shown and how many
requests were answered or failed."""
import http.client
import json
import ssl
import sys
import time

port, ca = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=ca)
names, answered, failed, more = [], 0, [], 20
old = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
deadline = time.monotonic() + 15


def ask(connection):
    global answered
    try:
        connection.request("GET", "/")
        answered += connection.getresponse().read().startswith(b"{")
    except OSError as error:
        failed.append(str(error))


while more and time.monotonic() < deadline:
    ask(old)
    fresh = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    ask(fresh)
    if fresh.sock:
        name = dict(pair[0] for pair in fresh.sock.getpeercert()["subject"])["commonName"]
        if name not in names:
            names.append(name)
            if len(names) == 1:
                print(json.dumps({"event": "first"}), flush=True)
    fresh.close()
    more -= len(names) > 1
print(json.dumps({"event": "end", "names": names, "answered": answered, "failed": failed}))
