"""The guardian where there is no shell. It does what `guardian.sh` does, and takes the same arguments."""

import os
import shutil
import signal
import sys
import time

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
folder, control = sys.argv[1:3]
mark = folder.rpartition("/axion-")[2].encode() + b":"
groups = set(sys.argv[3:])
for line in sys.stdin:
    what, _, group = line.strip().partition(" ")
    (groups.add if what == "+" else groups.discard)(group)


def kill(call, number):
    try:
        call(number, signal.SIGKILL)
    except OSError:
        pass


def is_marked(pid):
    try:
        with open("/proc/%s/environ" % pid, "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return False
    values = [variable[len(b"AXION_WORKER="):] for variable in variables if variable.startswith(b"AXION_WORKER=")]
    return any(one.startswith(mark) for value in values for one in value.split(b" "))


def remove_groups():
    for path, _, _ in os.walk(control, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            pass


for group in groups:
    kill(os.killpg, int(group))
if control:
    try:
        with open(control + "/cgroup.kill", "w") as file:
            file.write("1")
    except OSError:
        pass
seen = {str(os.getpid())}
for _ in range(1000):
    new = set(filter(str.isdigit, os.listdir("/proc"))) - seen
    if not new:
        break
    for pid in filter(is_marked, new):
        kill(os.kill, int(pid))
    seen |= new
shutil.rmtree(folder, ignore_errors=True)
for _ in range(100):
    if not control or not os.path.isdir(control):
        break
    remove_groups()
    time.sleep(0.01)
