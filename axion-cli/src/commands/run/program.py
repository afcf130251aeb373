"""Runs a script as a program of its own: with its arguments, and with the standard streams of `axion run`."""

import array
import ast
import asyncio
import os
import signal
import socket
import struct
import sys


class ProgramFailed(Exception):
    """The program did not end with exit code 0."""


async def main(params, _context):
    if params["ask"]:
        if has_entry(params["script"]):
            return "entry"
        if params["has_params"]:
            return "no entry"
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(params["door"])
        code, output = await run(params, receive_streams(door))
        door.sendall(struct.pack("<i", code))
        door.recv(1)
    if code != 0:
        print(output or "", end="")  # into the record, which has no result
        raise ProgramFailed("exit code %d" % code if code > 0 else "ended by signal %d" % -code)
    return output


def receive_streams(door):
    size = array.array("i").itemsize
    _, attached, _, _ = door.recvmsg(1, socket.CMSG_SPACE(3 * size))
    streams = array.array("i")
    for _, _, data in attached:
        streams.frombytes(data[:len(data) - len(data) % size])
    return streams


async def run(params, streams):
    """The exit code, which is negative for a signal, and the output if it is to be kept."""
    keeps = params["keep_output"]
    stdin, stdout, stderr = streams
    command = [sys.executable, params["script"], *params["arguments"]]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=asyncio.subprocess.PIPE if keeps else stdout, stderr=stderr)
    for stream in streams:
        os.close(stream)
    try:
        output, _ = await process.communicate()
    except BaseException:
        # Cancelled, or at its soft limit: as after Ctrl-C. What takes longer than its grace is ended by the engine.
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()
        raise
    return process.returncode, output.decode("utf-8", "backslashreplace") if keeps else None


def has_entry(path):
    """Whether the file binds `main` or `module`, as far as can be seen without running it."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # running it shows what is wrong
    return binds_entry(tree.body)


def binds_entry(statements):
    for statement in statements:
        names = []
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [statement.name]
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            names = [alias.asname or alias.name for alias in statement.names]
        elif isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign):
            names = [getattr(statement.target, "id", None)]
        elif isinstance(statement, (ast.If, ast.Try, ast.With)) and not is_guard(statement):
            blocks = [statement.body, getattr(statement, "orelse", []), getattr(statement, "finalbody", [])]
            blocks += [handler.body for handler in getattr(statement, "handlers", [])]
            if any(binds_entry(block) for block in blocks):
                return True
        if "main" in names or "module" in names:
            return True
    return False


def is_guard(statement):
    """Whether it is `if __name__ == "__main__":`, which is false in a worker."""
    test = getattr(statement, "test", None)
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
