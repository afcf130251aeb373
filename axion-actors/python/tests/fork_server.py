"""Prepares a worker once and forks it on demand: shows that `entry.prepare` leaves a process that may be forked.

    python3 fork_server.py FOLDER PACKAGE WORKER_ID SLOTS      fd 0: a socket to the test

For each request, a byte with three descriptors (control socket, stdout, stderr), it answers with the pid of
a copy that serves them.
"""

import array
import os
import signal
import socket
import sys


def main(folder, package, worker_id, slots):
    sys.path.insert(0, folder)
    start = __import__(package + ".start", fromlist=["start"])
    sys.path.remove(folder)
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    entry, server_class = start._import(folder, package, int(slots) > 1)
    server, requests = entry.prepare(server_class, int(slots))
    print("printed by what was prepared")  # as a module may that is imported before the fork
    requests = socket.socket(fileno=requests)
    while True:
        data, ancillary, _, _ = requests.recvmsg(1, socket.CMSG_SPACE(12))
        if not data:
            return
        control, out, err = array.array("i", ancillary[0][2])
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps the copies
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            os.setsid()
            os.dup2(out, 1)
            os.dup2(err, 2)
            entry.serve(server, control, worker_id)
            return
        for fd in (control, out, err):
            os.close(fd)
        requests.sendall(b"%d\n" % pid)


if __name__ == "__main__":
    main(*sys.argv[1:])
