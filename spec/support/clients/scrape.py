"""scrape.py FILE: a page of metrics as Prometheus' own client library reads it. Prints the families
({name: type}) and the samples ([name, {label: value}, value]), or what is wrong with them."""
import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families, samples, seen, wrong = {}, [], set(), []
with open(sys.argv[1], encoding="utf-8", newline="") as page:
    text = page.read()
if not text.endswith("\n"):
    wrong.append("the last line has no end")
for family in text_string_to_metric_families(text):
    if family.name in families:
        wrong.append("twice: " + family.name)
    if family.type == "unknown" or not family.documentation:
        wrong.append("no head: " + family.name)
    families[family.name] = family.type
    below = {}
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            wrong.append("twice: %s %s" % key)
        seen.add(key)
        samples.append([sample.name, sample.labels, sample.value])
        rest = tuple(sorted(item for item in sample.labels.items() if item[0] != "le"))
        if sample.name == family.name + "_bucket":
            if sample.value < below.get(rest, 0):
                wrong.append("not cumulative: %s %s" % key)
            below[rest] = sample.value
        if sample.name == family.name + "_count" and below.get(rest) != sample.value:
            wrong.append("count and +Inf differ: %s %s" % key)
print(json.dumps({"event": "scraped", "families": families, "samples": samples, "wrong": wrong}))
