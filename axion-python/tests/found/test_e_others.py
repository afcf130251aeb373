"""E1 to E4 and E6: what other projects' programs do with an executor."""

import pytest


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_e1_objects_of_multiprocessing_in_initargs(program, context):
    assert program.main("""
        import multiprocessing, sys
        import axion

        def prepare(*things):
            global lock, rlock, semaphore, event, condition, queue, simple, value, array
            lock, rlock, semaphore, event, condition, queue, simple, value, array = things

        def work(n):
            with lock, rlock, rlock, semaphore:
                value.value += n
                array[n] = n
                queue.put(n)
                simple.put(n)
            with condition:
                condition.notify_all()
            return event.is_set(), event.wait(0)

        if __name__ == "__main__":
            mp = multiprocessing.get_context(sys.argv[1])
            things = (mp.Lock(), mp.RLock(), mp.Semaphore(2), mp.Event(), mp.Condition(), mp.Queue(), mp.SimpleQueue(),
                      mp.Value("i", 0), mp.Array("i", 4))
            with axion.Executor(2, initializer=prepare, initargs=things) as ex:
                print({ex.submit(work, n).result() for n in range(4)})
                things[3].set()
                print(ex.submit(work, 0).result())
            print(sorted(things[5].get(timeout=60) for _ in range(5)), sorted(things[6].get() for _ in range(5)),
                  things[7].value, list(things[8]))
            things[0].acquire()
            print(things[0].acquire(timeout=0))
            things[0].release()
    """, context) == ["{(False, False)}", "(True, True)", "[0, 0, 1, 2, 3] [0, 0, 1, 2, 3] 6 [0, 1, 2, 3]", "False"]


def test_e1_a_lock_excludes_workers_and_the_caller(program):
    assert program.main("""
        import multiprocessing
        import axion

        def prepare(the_lock):
            global lock
            lock = the_lock

        def work(path):
            for _ in range(50):
                with lock:
                    with open(path, "r+") as file:
                        n = int(file.read())
                        file.seek(0)
                        file.write(str(n + 1))

        if __name__ == "__main__":
            lock = multiprocessing.Lock()
            with open("count", "w") as file:
                file.write("0")
            with axion.Executor(2, initializer=prepare, initargs=(lock,)) as ex:
                futures = [ex.submit(work, "count") for _ in range(4)]
                work("count")
                for future in futures:
                    future.result()
            print(open("count").read())
    """) == ["250"]


def test_e1_a_lock_of_a_worker_that_dies_is_released(program):
    assert program.main("""
        import multiprocessing, os
        import axion

        def prepare(the_lock):
            global lock
            lock = the_lock

        def die():
            lock.acquire()
            os._exit(1)

        if __name__ == "__main__":
            lock = multiprocessing.get_context("fork").Lock()
            with axion.Executor(1, initializer=prepare, initargs=(lock,), cancel_grace=0.1) as ex:
                print(type(ex.submit(die).exception()).__name__)
                print(lock.acquire(timeout=30), lock.release())
    """) == ["WorkerLost", "True None"]


def test_e1_the_bar_of_tqdm(program):
    pytest.importorskip("tqdm")
    program.write("main.py", """
        import concurrent.futures
        import axion
        concurrent.futures.ProcessPoolExecutor = axion.Executor
        from tqdm.contrib.concurrent import process_map

        def double(n):
            return 2 * n

        if __name__ == "__main__":
            print(process_map(double, range(20), max_workers=2, chunksize=3))
    """)
    done = program.start("main.py")
    assert done.stdout == str([2 * n for n in range(20)]) + "\n", done.stderr
    assert "20/20" in done.stderr


def test_e2_arguments_and_results_above_64_mebibytes(program):
    assert program.main("""
        import axion
        SIZE = 70 * 2**20

        def back(data):
            return data[:10] + b"!", len(data), data

        with axion.Executor(1) as ex:
            head, length, data = ex.submit(back, b"0123456789" * (SIZE // 10)).result()
            print(head, length == SIZE, len(data) == SIZE, data[-3:])
            print(len(ex.submit(bytes, SIZE).result()) == SIZE, ex.submit(len, bytearray(SIZE)).result() == SIZE)
            print(len(ex.submit(str.__mul__, "ab", SIZE // 2).result()) == SIZE)
    """) == ["b'0123456789!' True True b'789'", "True True", "True"]


def test_e2_large_arrays_can_be_written_to_and_stay_apart(program):
    pytest.importorskip("numpy")
    assert program.main("""
        import axion, numpy

        def change(array, n):
            array[0] = n
            return array

        with axion.Executor(2) as ex:
            data = numpy.ones(70 * 2**20 // 8)
            futures = [ex.submit(change, data, n) for n in (5, 6)]
            backs = [future.result() for future in futures]
            backs[0][1] = 7
            print([float(back[0]) for back in backs], float(data[0]), float(backs[1][1]), float(backs[0].sum()))
            data[2] = 9
            print(float(ex.submit(lambda array: array[2], data).result()))
    """) == ["[5.0, 6.0] 1.0 1.0 9175050.0", "9.0"]


def test_e2_a_limit_bounds_what_travels(program):
    assert program.main("""
        import axion

        with axion.Executor(1, payload_limit="8 MiB") as ex:
            for call in (lambda: ex.submit(len, bytes(9 << 20)).result(), lambda: ex.submit(bytes, 9 << 20).result()):
                try:
                    print(call())
                except axion.AxionError as error:
                    print(error.code, "payload_limit" in str(error) or error)
            print(ex.submit(len, bytes(7 << 20)).result())
    """) == ["params_too_large True", "result_too_large True", str(7 << 20)]


def test_e2_cross_validation_on_a_large_matrix(program):
    pytest.importorskip("sklearn")
    assert program.main("""
        import joblib, numpy
        import axion.joblib
        from sklearn.dummy import DummyClassifier
        from sklearn.model_selection import cross_val_score

        axion.joblib.register()
        X, y = numpy.zeros((1000, 80 * 2**20 // 8 // 1000)), numpy.arange(1000) % 2
        with joblib.parallel_config(backend="axion", n_jobs=2):
            print(cross_val_score(DummyClassifier(), X, y, cv=2).tolist())
    """) == ["[0.5, 0.5]"]


def test_e3_map_goes_through_a_submit_that_is_overridden(program):
    assert program.main("""
        import axion
        submitted = []

        class Counting(axion.Executor):
            def submit(self, fn, /, *args, **kwargs):
                future = super().submit(fn, *args, **kwargs)
                submitted.append(future)
                return future

        with Counting(1) as ex:
            print(list(ex.map(abs, [-1, -2, -3])), len(submitted), all(future.done() for future in submitted))
            print(list(ex.map(abs, range(-6, 0), chunksize=3)), len(submitted))
        plain = axion.Executor(1)
        plain.submit = lambda *args: submitted.append("on the object") or axion.Executor.submit(plain, *args)
        with plain:
            print(list(plain.map(abs, [-1])), submitted[-1])
    """) == ["[1, 2, 3] 3 True", "[6, 5, 4, 3, 2, 1] 5", "[1] on the object"]


def test_e4_one_task_for_each_process(program):
    assert program.main("""
        import os
        import axion

        def pid(_=None):
            return os.getpid()

        for most, tasks in ((1, 20), (4, 20)):
            with axion.Executor(2, max_tasks_per_child=most) as ex:
                pids = [future.result() for future in [ex.submit(pid) for _ in range(tasks)]]
                print(max(map(pids.count, pids)) <= most, len(set(pids)) >= tasks // most)
    """) == ["True True", "True True"]


A13 = """
import os, time
import joblib
import axion.joblib

axion.joblib.register()

def pid(_=None):
    return os.getpid()
"""


def test_a13_one_set_of_workers_serves_all_parallel_calls(program):
    pytest.importorskip("joblib")
    assert program.main(A13 + """
pids = set()
with joblib.parallel_config(backend="axion", n_jobs=2):
    for _ in range(8):
        pids |= set(joblib.Parallel()(joblib.delayed(pid)(n) for n in range(4)))
for _ in range(2):
    pids |= set(joblib.Parallel(n_jobs=2, backend="axion")(joblib.delayed(pid)(n) for n in range(4)))
print(len(pids) <= 2 or len(pids), os.getpid() in pids)
""") == ["True False"]


def test_a13_functions_of_main_between_calls(program):
    pytest.importorskip("joblib")
    assert program.main(A13 + """
rate = 2
def times(n):
    return n * rate

with joblib.parallel_config(backend="axion", n_jobs=2):
    for rate in (2, 3):
        print(joblib.Parallel()(joblib.delayed(times)(n) for n in range(3)))
    def times(n):
        return -n
    print(joblib.Parallel()(joblib.delayed(times)(n) for n in range(3)))
    print(joblib.Parallel(n_jobs=1)(joblib.delayed(pid)() for _ in range(1)) == [os.getpid()])
""") == ["[0, 2, 4]", "[0, 3, 6]", "[0, -1, -2]", "True"]


def test_e6_parallel_in_a_worker_by_name(program):
    pytest.importorskip("joblib")
    assert program.main(A13 + """
def inner(n):
    return n + 1

def outer(n):
    with joblib.parallel_config(backend="axion", n_jobs=2):
        configured = joblib.Parallel()(joblib.delayed(inner)(m) for m in range(n))
    return configured, joblib.Parallel(n_jobs=2, backend="axion")(joblib.delayed(inner)(m) for m in range(n))

with axion.Executor(1) as ex:
    print(ex.submit(outer, 2).result())
print(joblib.Parallel(n_jobs=2, backend="axion")(joblib.delayed(outer)(n) for n in range(3)))
""") == ["([1, 2], [1, 2])", "[([], []), ([1], [1]), ([1, 2], [1, 2])]"]
