"""Timers on Pyodide's event loop, aibind's and asyncio's own: none fails to be made or leaves anything in JavaScript.

The loop is repaired here, since every check begins with a client of D1.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from importlib.util import find_spec
from typing import Any
from unittest import SkipTest

from aibind._time import call_later, sleep, timeout, wait_for_event
from aibind.testing.checks import raises

from .bench import Bench, checks_once
from .broken import javascript

check = checks_once

TIMES = 20_000
DELAYS_S = (1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 0.0, -1e-9, -1e-6, -1.0)

COUNTER = """(() => {
  const {setTimeout, clearTimeout} = globalThis;
  const pending = new Set(), counts = {set: 0, cleared: 0};
  globalThis.setTimeout = (callback, ...rest) => {
    counts.set += 1;
    const id = setTimeout((...args) => { pending.delete(id); return callback(...args); }, ...rest);
    pending.add(id);
    return id;
  };
  globalThis.clearTimeout = (id) => {
    counts.cleared += Number(pending.delete(id));
    clearTimeout(id);
  };
  return {
    pending: () => pending.size,
    set: () => counts.set,
    cleared: () => counts.cleared,
    stop: () => Object.assign(globalThis, {setTimeout, clearTimeout}),
  };
})()"""
"""Counts the timers that are made through the global functions, which Python looks up for each."""


@contextmanager
def counting(bench: Bench) -> Iterator[Any]:
    counter = javascript(bench, COUNTER)
    try:
        yield counter
    finally:
        counter.stop()


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@check
async def timers_of_next_to_nothing_never_fail(_bench: Bench) -> None:
    """Pyodide's own refuse a moment that has just passed."""
    fired = 0

    def fire() -> None:
        nonlocal fired
        fired += 1

    for number in range(TIMES):
        call_later(DELAYS_S[number % len(DELAYS_S)], fire)
        if number % 1000 == 999:
            await sleep(1e-6)
    deadline = time.time() + 60
    while fired < TIMES:
        assert time.time() < deadline, fired
        await sleep(0.01)
    assert fired == TIMES


@check
async def timeouts_of_next_to_nothing_never_fail(bench: Bench) -> None:
    with counting(bench) as timers:
        for number in range(TIMES):
            async with timeout(DELAYS_S[number % len(DELAYS_S)]):
                pass
        assert timers.pending() == 0
    for delay_s in DELAYS_S * 20:
        with raises(TimeoutError):
            async with timeout(delay_s):
                await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@check
async def a_timer_still_fires(_bench: Bench) -> None:
    fired: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
    began = time.time()
    call_later(0.05, lambda *args: fired.set_result(args), 1, 2)
    assert await fired == (1, 2)
    assert time.time() - began >= 0.045
    began = time.time()
    await asyncio.gather(*(sleep(0.05) for _ in range(100)))
    assert 0.045 <= time.time() - began < 30


@check
async def a_cancelled_timer_is_cleared_in_javascript(bench: Bench) -> None:
    """A timer that is pending keeps a Durable Object awake."""
    with counting(bench) as timers:
        made = [call_later(3600, print) for _ in range(10)]
        assert (timers.pending(), timers.set(), timers.cleared()) == (10, 10, 0)
        for timer in made:
            timer.cancel()
            timer.cancel()
        assert (timers.pending(), timers.cleared()) == (0, 10)

        tasks = [asyncio.ensure_future(sleep(3600)) for _ in range(10)]
        await asyncio.sleep(0)
        assert timers.pending() == 10
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert timers.pending() == 0

        async with timeout(3600):
            assert timers.pending() == 1
        assert timers.pending() == 0

        event = asyncio.Event()
        asyncio.get_running_loop().call_soon(event.set)
        assert await wait_for_event(event, 3600)
        assert timers.pending() == 0


@check
async def a_timer_that_was_cancelled_when_it_was_due_does_not_call(bench: Bench) -> None:
    called: list[int] = []
    with counting(bench) as timers:
        made = [call_later(0.001 * (number % 5 + 1), called.append, number) for number in range(500)]
        for timer in made[::2]:
            timer.cancel()
        await sleep(0.003)
        for timer in made[1::4]:
            timer.cancel()
        so_far = set(called)
        await sleep(0.05)
        assert timers.pending() == 0
    assert not set(called) & set(range(0, 500, 2))
    assert not (set(called) - so_far) & set(range(1, 500, 4))
    assert set(range(3, 500, 4)) <= set(called)


@check
async def a_years_wait_does_not_end_at_once(bench: Bench) -> None:
    """JavaScript fires a timer of more than 2**31 - 1 ms at once."""
    called: list[str] = []
    with counting(bench) as timers:
        timer = call_later(365 * 86400, called.append, "called")
        await sleep(0.05)
        assert (called, timers.pending()) == ([], 1)
        timer.cancel()


@check
async def timers_leave_nothing_behind(_bench: Bench) -> None:
    async def use(times: int) -> int:
        for _ in range(times):
            await sleep(1e-4)
            async with timeout(60):
                pass
            call_later(60, print).cancel()
        await sleep(0.01)
        gc.collect()
        return len(gc.get_objects())

    await use(20)
    before = await use(20)
    assert await use(500) - before < 100


@check
async def a_callback_runs_in_the_context_of_the_call(_bench: Bench) -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")
    seen: list[str] = []
    for delay_s in (0, 0.001):
        name.set(f"set for {delay_s}")
        call_later(delay_s, lambda: seen.append(name.get()))
        name.set("changed")
    await sleep(0.02)
    assert seen == ["set for 0", "set for 0.001"]


# --- asyncio's own, as applications and frameworks use them ---


@check
async def asyncios_timers_never_fail(_bench: Bench) -> None:
    """A clock that ticked between two calls made ``call_at`` raise; here it has always ticked."""
    loop = asyncio.get_running_loop()
    fired = 0

    def fire() -> None:
        nonlocal fired
        fired += 1

    for number in range(TIMES // 10):
        loop.call_at(loop.time() - number % 3 * 1e-6, fire)
        if number % 100 == 99:
            await asyncio.sleep(0.001)
    for delay_s in (-1.0, 0.0, 1e-9):
        loop.call_later(delay_s, fire)
    await sleep(0.05)
    assert fired == TIMES // 10 + 3
    for number in range(TIMES // 10):
        async with asyncio.timeout_at(loop.time() + number % 3 * 1e-6):
            pass


@check
async def asyncios_cancelled_timers_are_cleared(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with counting(bench) as timers:
        made = [loop.call_later(3600, print), loop.call_at(loop.time() + 3600, print)]
        assert timers.pending() == 2
        for handle in made:
            handle.cancel()
            handle.cancel()
            assert handle.cancelled()
        assert timers.pending() == 0

        async with asyncio.timeout(3600):
            assert timers.pending() == 1
        assert await asyncio.wait_for(asyncio.sleep(0, "slept"), 3600) == "slept"
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0))], timeout=3600)
        assert timers.pending() == 0

        sleeping = asyncio.ensure_future(asyncio.sleep(3600))
        await asyncio.sleep(0)
        assert timers.pending() == 1
        sleeping.cancel()
        await asyncio.wait([sleeping])
        assert timers.pending() == 0
        endless = asyncio.ensure_future(asyncio.sleep(float("inf")))
        await asyncio.sleep(0.02)
        assert (endless.done(), timers.pending()) == (False, 0)
        endless.cancel()


@check
async def anyios_deadlines_are_cleared(bench: Bench) -> None:
    if find_spec("ssl") is None:
        raise SkipTest("AnyIO needs the module ssl, which this Pyodide does not have")
    import anyio

    with counting(bench) as timers:
        with anyio.fail_after(3600):
            await anyio.sleep(0.001)
            assert timers.pending() == 1
        assert timers.pending() == 0
        with raises(TimeoutError), anyio.fail_after(0.01):
            await anyio.sleep(3600)
        assert timers.pending() == 0


@check
async def asyncios_timers_still_fire(_bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    name: ContextVar[str] = ContextVar("name", default="nobody")
    fired: asyncio.Future[tuple[object, ...]] = loop.create_future()
    name.set("of the call")
    began = time.time()
    loop.call_later(0.05, lambda *args: fired.set_result((*args, name.get())), 1, 2)
    name.set("changed")
    assert await fired == (1, 2, "of the call")
    assert time.time() - began >= 0.045
    began = time.time()
    await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(100)))
    assert 0.045 <= time.time() - began < 30
    context = copy_context()
    context.run(name.set, "given")
    given: asyncio.Future[str] = loop.create_future()
    loop.call_later(0.01, lambda: given.set_result(name.get()), context=context)
    assert await given == "given"
    with raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await forever()
