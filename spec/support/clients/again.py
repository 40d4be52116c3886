"""again.py PORT PATH COUNT: the same request over COUNT connections, one after the other. Prints
how often each answer came."""
import collections
import http.client
import json
import sys

answers = collections.Counter()
for _ in range(int(sys.argv[3])):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    connection.request("GET", sys.argv[2])
    answers[connection.getresponse().read().decode()] += 1
    connection.close()
print(json.dumps({"event": "answers", "answers": answers}))
