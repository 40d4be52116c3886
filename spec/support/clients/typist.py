"""Types at a program's prompt, on a terminal of its own.

    typist.py [[what, …], …] program argument…

Steps: ["type", text], ["sleep", seconds], ["sees", text] (wait until the screen has it, behind what
was seen before), ["ends"]. Prints {"event": "seen", "text": …} for each, and {"event": "ended", "status": …}.
"""
import json
import os
import pty
import select
import sys
import time

steps, program = json.loads(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "vt100"
    os.execv(program[0], program)

screen = b""


def tell(**event):
    print(json.dumps(event), flush=True)


def read(seconds):
    """False: the program has ended."""
    global screen
    if select.select([fd], [], [], seconds)[0]:
        try:
            more = os.read(fd, 65536)
        except OSError:
            return False
        screen += more
        return bool(more)
    return True


for step, *words in steps:
    end = time.time() + 20
    if step == "sleep":
        time.sleep(words[0])
    elif step == "type":
        os.write(fd, words[0].encode())
    elif step == "sees":
        wanted = words[0].encode()
        while wanted not in screen:
            if time.time() > end or not read(0.1):
                tell(event="missed", text=words[0], screen=screen.decode(errors="replace"))
                sys.exit(1)
        screen = screen[screen.index(wanted) + len(wanted):]
        tell(event="seen", text=words[0])
    elif step == "ends":
        while read(0.1) and time.time() < end:
            pass
        _, status = os.waitpid(pid, 0)
        tell(event="ended", status=os.waitstatus_to_exitcode(status))
