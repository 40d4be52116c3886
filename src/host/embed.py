#!/usr/bin/env python3
"""Write rille's Lua files, deflated, as a C table: embed.py OUT ROOT FILE..."""
import os
import sys
import zlib

out, root, files = sys.argv[1], sys.argv[2], sys.argv[3:]
sizes = []
with open(out, "w") as c:
    c.write('#include "host/library.h"\n\n')
    for i, name in enumerate(files):
        data = open(name, "rb").read()
        c.write(f"static const unsigned char text_{i}[] = {{")
        c.write(",".join(str(byte) for byte in zlib.compress(data, 9)) + "};\n")
        sizes.append(len(data))
    c.write("\nconst rl_library_file rl_library_files[] = {\n")
    for i, name in enumerate(files):
        path = os.path.relpath(name, root).replace(os.sep, "/")
        c.write(f'    {{"{path}", text_{i}, sizeof(text_{i}), {sizes[i]}}},\n')
    c.write("};\n")
    c.write(f"const size_t rl_library_count = {len(files)};\n")
