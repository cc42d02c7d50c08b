"""A process that has imported tremolo, and forks programs: each start of an interpreter is saved.

Started by `forked.py` with a socket, and modules to import as well. Each request on it is the
command, the folder and the environment of a program, with its stdout, its stderr and a pipe, and
with what it shall have as descriptors from 3 on, as systemd gives them (LISTEN_PID is set then). A
child waits for the program: it writes its process id on the pipe, and then its status.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import runpy
import signal
import socket
import sys

# What `python -m tremolo` imports before it knows its application, and every application of ours:
# no more than that, so that what is imported late is imported late here as well.
import tremolo.cli
import tremolo.service.system
from tremolo import Tremolo  # noqa: F401

LONGEST = 1 << 17


def serve(sock):
    """Fork a program for each request; return, in the program, what it is to run."""
    # (Nobody waits for the children that wait.)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        data, fds, _, _ = socket.recv_fds(sock, LONGEST, 20)
        if not data:
            sys.exit()
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            sock.close()
            stdout, stderr, status, *given = fds
            pid = os.fork()
            if not pid:
                os.close(status)
                for fd, copy in ((stdout, 1), (stderr, 2)):
                    os.dup2(fd, copy)
                    os.close(fd)
                give(given)
                return json.loads(data)
            os.close(stdout)
            os.close(stderr)
            wait(pid, status)
        for fd in fds:
            os.close(fd)


def give(fds):
    """Move descriptors to the numbers from 3 on."""
    for number, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds], 3):
        os.dup2(fd, number)
        os.close(fd)


def wait(pid, status):
    # Ctrl-C in the terminal of the tests is for the program.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(status, b'%d\n' % pid)
    os.write(status, b'%d\n' % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def become(command, folder, environment):
    """Run `-m MODULE ...` or `-c PROGRAM ...` as an interpreter started in this folder does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if os.environ.get('LISTEN_PID') == 'self':
        os.environ['LISTEN_PID'] = str(os.getpid())
    # (The next three are known from the start of an interpreter.)
    tremolo.service.system._FOLDER = os.getcwd()
    sys.orig_argv = [sys.executable, *command]
    sys.path[0] = os.getcwd()
    option, program, *arguments = command
    sys.argv = [option, *arguments]
    if option == '-c':
        exec(compile(program, '<string>', 'exec'), vars(sys.modules['__main__']))
    else:
        runpy.run_module(program, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    for each in sys.argv[2:]:
        importlib.import_module(each)
    become(*serve(socket.socket(fileno=int(sys.argv[1]))))
