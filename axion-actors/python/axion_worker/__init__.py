"""The runtime inside an Axion worker: takes tasks from a pipe, runs them, writes results back.

Standard library only, Python 3.8 and newer. One module per concern:

    start      how these modules come into the interpreter
    entry      the order in which a worker comes to life and ends
    wire       the byte format (docs/internals/wire-protocol.md), the same as `wire/` on the engine's side
    channel    the pipes: off fds 0 to 2, frames in, frames out
    inline     one task at a time in the main thread (CPU workers)
    threaded   many tasks at a time in threads and one event loop (IO workers)
    crew       the threads of the latter
    coroutines what both do with an `async def`
    control    the thread that answers while tasks run
    scripts    loading script files and finding their entry point
    functions  what the engine was given as a function, and how its values travel
    packing    the bytes of those values, and who is a coroutine: a text that the Python package shares
    context    what a task gets as its second argument
    output     prints, attributed to their task
    values     JSON, and where in a value it fails
    failure    every way a task can fail, as text
    library    the standard library, unshadowed

At start a module imports from the standard library only what a worker needs before its first
result; asyncio, `traceback` and the like wait until a task asks for them or fails.
"""
