"""The engine in an event loop."""

import asyncio
import threading
import time

import helpers
import pytest

import axion


def test_run_gives_results_and_exceptions(engine):
    async def main():
        assert await engine.run(helpers.add, 1, b=2) == 3
        assert await engine.run(helpers.slow_double, 4) == 8
        with pytest.raises(ZeroDivisionError):
            await engine.run(divmod, 1, 0)
        return await asyncio.gather(*[engine.run(helpers.double, n) for n in range(200)])

    assert asyncio.run(main()) == list(range(0, 400, 2))


def test_c4_4_those_that_wait_wait_together(engine):
    async def main():
        return await asyncio.gather(*[engine.run(helpers.meet, 2, n) for n in range(2)])

    assert asyncio.run(main()) == [0, 1]


def test_cancelling_the_awaiting_cancels_the_task(gate):
    async def wait(path):
        try:
            with open(path + ".begun", "wb", 0) as file:
                file.write(b"x")
            await asyncio.sleep(60)
        finally:
            with open(path + ".begun", "wb", 0) as file:
                file.write(b"y")

    async def main(engine):
        task = asyncio.ensure_future(engine.run(wait, gate.path))
        await asyncio.to_thread(gate.begun)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(gate.begun)

    with axion.Engine(io_bound_count=1, io_bound_max=1, cancel_grace=50) as engine:
        asyncio.run(main(engine))


def test_a_time_limit_of_the_loop(engine):
    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.run(time.sleep, 60), 0.1)
        assert await engine.run(helpers.double, 1) == 2

    asyncio.run(main())


def test_amap_in_order_and_as_they_come(engine):
    async def main(ordered):
        return [value async for value in engine.amap(helpers.slow_double, range(50), ordered=ordered)]

    assert asyncio.run(main(True)) == list(range(0, 100, 2))
    assert sorted(asyncio.run(main(False))) == list(range(0, 100, 2))


def test_a_shutdown_lets_what_is_awaited_end():
    async def main():
        with axion.Engine(cpu_bound_count=1, io_bound_count=1) as engine:
            waiting = asyncio.ensure_future(engine.run(helpers.slow_double, 4, 0.3))
            await asyncio.sleep(0)
        return await waiting

    assert asyncio.run(main()) == 8


def test_a_full_queue_does_not_hold_up_the_loop(gate):
    async def main(engine):
        first = asyncio.ensure_future(engine.run(helpers.at_gate, gate.path, "through"))
        others = [asyncio.ensure_future(engine.run(helpers.double, n)) for n in range(100)]
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        watching = threading.Thread(target=lambda: (gate.begun(), loop.call_soon_threadsafe(begun.set)), daemon=True)
        watching.start()
        await begun.wait()
        assert not any(task.done() for task in [first, *others])
        gate.open()  # only the loop does it
        watching.join()
        return await first, await asyncio.gather(*others)

    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=0, input_queue_size=2) as engine:
        assert asyncio.run(main(engine)) == ("through", list(range(0, 200, 2)))


def test_cancelling_a_submit_that_waits_for_room_leaves_no_task(gate):
    async def main(engine):
        first = asyncio.ensure_future(engine.run(helpers.at_gate, gate.path, "through"))
        others = [asyncio.ensure_future(engine.run(helpers.at_gate, gate.path, n)) for n in range(20)]
        await asyncio.to_thread(gate.begun)
        # One is in the queue, one in a thread; the others wait for that. No other thread is taken.
        for task in others:
            task.cancel()
        assert await asyncio.gather(*others, return_exceptions=True) and all(task.cancelled() for task in others)
        gate.open()
        # Nobody else stays at the gate, which is closed again.
        return await first, await engine.run(helpers.double, 4)

    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=0, input_queue_size=1,
                      cancel_grace=0) as engine:
        assert asyncio.run(main(engine)) == ("through", 8)


def test_who_gives_up_waiting_for_room_takes_no_more_threads_than_one(gate):
    def threads():
        return sum(thread.name.startswith("asyncio") for thread in threading.enumerate())

    async def give_up(engine):
        waiting = asyncio.ensure_future(engine.run(helpers.double, 1))
        for _ in range(3):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    async def main(engine):
        first = asyncio.ensure_future(engine.run(helpers.at_gate, gate.path, "through"))
        await asyncio.to_thread(gate.begun)
        queued = asyncio.ensure_future(engine.run(helpers.double, 2))
        await asyncio.sleep(0)
        await give_up(engine)
        taken = threads()
        for _ in range(3):
            await give_up(engine)
        assert threads() == taken
        gate.open()
        return await first, await queued, await engine.run(helpers.double, 4)

    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=0, input_queue_size=1,
                      cancel_grace=0) as engine:
        assert asyncio.run(main(engine)) == ("through", 4, 8)


def test_options_hold_there_too(engine):
    async def main():
        with pytest.raises(axion.TaskTimeout):
            await engine.options(timeout=0.1).run(time.sleep, 60)

    asyncio.run(main())
