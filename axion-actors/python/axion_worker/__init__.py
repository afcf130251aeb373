"""The runtime inside an Axion worker: reads tasks from a pipe, runs them and writes their results back.

It needs the standard library alone, and Python 3.8 or newer. One module per concern:

    start        imports these modules into the interpreter
    entry        prepares a worker, then serves the engine
    wire         the byte format (docs/internals/wire-protocol.md), the same as `wire/` on the engine's side
    channel      the pipes: moves them off fds 0 to 2, reads and writes frames
    inline       runs one task at a time in the main thread (CPU workers)
    threaded     runs many tasks at a time in threads and on one event loop (IO workers)
    thread_pool  the threads of `threaded`
    coroutines   runs an `async def` for both
    control      the thread that answers the engine while tasks run
    scripts      loads script files and finds their entry points
    spawned      makes scripts importable in the processes that their tasks spawn
    process_state  puts back the working folder, the umask and the environment after a script's task
    functions    loads the functions that the engine sends, and packs their values
    surroundings what tasks find around them: `sys.path`, arguments, limits, filters
    stamps       what an interpreter saw of a module's source
    packing      the bytes of those values; the Python package has the same file
    definitions  takes functions and classes apart, and makes them again; the Python package has the same file
    needs        which globals a function needs; the Python package has the same file
    specials     how a pickle makes locks, caches, views and others; the Python package has the same file
    context      the second argument of a task
    output       attributes prints to their task
    values       JSON, and the place in a value that has no JSON form
    failure      describes every failure of a task as text
    cpython      the private parts of CPython that the others use, with public replacements
    library      imports from the standard library when user modules have the same names

At start, a module imports only those standard modules that every worker needs before its first
result. asyncio, `traceback` and others wait until a task needs them or fails.
"""
