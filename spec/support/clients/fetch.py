"""fetch.py URL OPTIONS: one HTTP request by http.client; prints status, headers and body."""
import http.client
import json
import sys
from urllib.parse import urlsplit

url, options = urlsplit(sys.argv[1]), json.loads(sys.argv[2])
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
path = url.path + ("?" + url.query if url.query else "")
body = options.get("body")
if body is not None:
    body = body.encode() * int(options.get("repeat_body", 1))
try:
    connection.request(options.get("method", "GET"), path, body, options.get("headers") or {})
except (BrokenPipeError, ConnectionResetError):
    pass  # the server may refuse a body before it has read it all
answer = connection.getresponse()
text = answer.read().decode("utf-8", "replace")
headers = {name.lower(): value for name, value in answer.getheaders()}
print(json.dumps({"status": answer.status, "headers": headers, "body": text}))
