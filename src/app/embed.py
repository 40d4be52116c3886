#!/usr/bin/env python3
"""Write rille's Lua files as a C table: embed.py OUT ROOT FILE..."""
import os
import sys

out, root, files = sys.argv[1], sys.argv[2], sys.argv[3:]
with open(out, "w") as c:
    c.write('#include "app/library.h"\n\n')
    for i, name in enumerate(files):
        data = open(name, "rb").read()
        c.write(f"static const unsigned char text_{i}[] = {{")
        c.write(",".join(str(byte) for byte in data) + ",0};\n")
    c.write("\nconst rl_library_file rl_library_files[] = {\n")
    for i, name in enumerate(files):
        path = os.path.relpath(name, root).replace(os.sep, "/")
        c.write(f'    {{"{path}", (const char *)text_{i}, sizeof(text_{i}) - 1}},\n')
    c.write("};\n")
    c.write(f"const size_t rl_library_count = {len(files)};\n")
