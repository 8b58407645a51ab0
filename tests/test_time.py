"""Timers, on CPython's event loop: those of ours behave as asyncio's do. Inside workerd, see inside/timers.py."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from aibind import _time
from aibind._time import call_later, now_ms, sleep, wait_for_event

NOTHING_S = 1e-9
SOON_S = 0.01
NEVER_S = 60.0

MakeTimeout = Callable[[float | None], Any]


@pytest.fixture(params=[asyncio.timeout, _time.timeout], ids=["asyncio", "ours"])
def timeout(request: pytest.FixtureRequest) -> MakeTimeout:
    """Every test of a timeout holds for asyncio's as well."""
    made: MakeTimeout = request.param
    return made


def pending() -> int:
    """Count what the loop has planned, without what was cancelled and waits to be thrown away."""
    loop: Any = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def noting(body: Coroutine[Any, Any, None], seen: list[BaseException]) -> None:
    """Await ``body``, and note what it raises."""
    try:
        await body
    except BaseException as error:
        seen.append(error)
        raise


# --- timeouts ---------------------------------------------------------------------------------------------------------


async def test_a_body_that_takes_too_long_is_cancelled(timeout: MakeTimeout) -> None:
    seen: list[BaseException] = []
    with pytest.raises(TimeoutError) as caught:
        async with timeout(SOON_S):
            await noting(forever(), seen)
    assert seen == [caught.value.__cause__]
    assert cancelling() == 0
    await asyncio.sleep(0)  # nothing is left to be delivered


async def test_a_body_in_time_leaves_nothing(timeout: MakeTimeout) -> None:
    before = pending()
    async with timeout(NEVER_S):
        await asyncio.sleep(0)
    assert (pending(), cancelling()) == (before, 0)


@pytest.mark.parametrize("delay_s", [None, NEVER_S])
async def test_an_error_of_the_body_passes(timeout: MakeTimeout, delay_s: float | None) -> None:
    before = pending()
    with pytest.raises(ZeroDivisionError):
        async with timeout(delay_s):
            raise ZeroDivisionError
    assert (pending(), cancelling()) == (before, 0)


async def test_none_sets_no_limit(timeout: MakeTimeout) -> None:
    before = pending()
    async with timeout(None):
        assert pending() == before
        await asyncio.sleep(SOON_S)


@pytest.mark.parametrize("delay_s", [0, -1, -math.inf, NOTHING_S])
async def test_a_limit_that_has_passed_ends_the_first_wait(timeout: MakeTimeout, delay_s: float) -> None:
    with pytest.raises(TimeoutError):
        async with timeout(delay_s):
            await forever()
    assert cancelling() == 0


@pytest.mark.parametrize("delay_s", [0, -1, NOTHING_S])
async def test_a_body_that_does_not_wait_is_never_late(timeout: MakeTimeout, delay_s: float) -> None:
    before = pending()
    async with timeout(delay_s):
        time.sleep(0.001)
    assert (pending(), cancelling()) == (before, 0)
    await asyncio.sleep(SOON_S)  # nor is what comes after it


async def test_expiry_while_the_body_ends_is_not_told_to_the_next_wait(timeout: MakeTimeout) -> None:
    """The body swallows the cancellation that expiry sends, and ends normally."""
    async with timeout(SOON_S):
        with suppress(asyncio.CancelledError):
            await forever()
    assert cancelling() == 0
    await asyncio.sleep(SOON_S)


async def test_expiry_and_another_error(timeout: MakeTimeout) -> None:
    async def fail() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError):
        async with timeout(SOON_S):
            await fail()
    assert cancelling() == 0


async def test_the_inner_of_two_expires(timeout: MakeTimeout) -> None:
    async with timeout(NEVER_S):
        with pytest.raises(TimeoutError):
            async with timeout(SOON_S):
                await forever()
        await asyncio.sleep(0)
    assert cancelling() == 0


async def test_the_outer_of_two_expires(timeout: MakeTimeout) -> None:
    async def inner() -> None:
        async with timeout(NEVER_S):
            await forever()

    seen: list[BaseException] = []
    with pytest.raises(TimeoutError):
        async with timeout(SOON_S):
            await noting(inner(), seen)
    assert [type(error) for error in seen] == [asyncio.CancelledError], "the inner limit has nothing to do with it"
    assert cancelling() == 0


@pytest.mark.parametrize("delays_s", [(0, 0), (SOON_S, SOON_S), (0, SOON_S), (SOON_S, 0)])
async def test_two_that_expire_at_about_the_same_time(timeout: MakeTimeout, delays_s: tuple[float, float]) -> None:
    with pytest.raises(TimeoutError):
        async with timeout(delays_s[0]), timeout(delays_s[1]):
            await forever()
    assert cancelling() == 0
    await asyncio.sleep(SOON_S)


@pytest.mark.parametrize("delay_s", [NEVER_S, SOON_S, 0])
async def test_a_cancellation_from_outside_wins(timeout: MakeTimeout, delay_s: float) -> None:
    async def body() -> None:
        async with timeout(delay_s):
            await forever()

    task = asyncio.ensure_future(body())
    await asyncio.sleep(0)
    task.cancel("from outside")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancellation_from_outside_after_expiry_wins(timeout: MakeTimeout) -> None:
    async def body() -> None:
        async with timeout(0):
            await forever()

    task = asyncio.ensure_future(body())
    await asyncio.sleep(0)  # it begins, and its limit expires in the next round, just before the next line goes on
    loop = asyncio.get_running_loop()
    loop.call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_cancelled_body_may_set_a_limit_to_its_cleanup(timeout: MakeTimeout) -> None:
    """As the writer does: it has been cancelled, and gives its farewell a second."""
    outcome: list[str] = []

    async def body() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            try:
                async with timeout(SOON_S):
                    await forever()
            except TimeoutError:
                outcome.append("the cleanup took too long")
            raise

    task = asyncio.ensure_future(body())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcome == ["the cleanup took too long"]


# --- sleep ------------------------------------------------------------------------------------------------------------


async def test_sleep_lasts_as_long_as_it_says() -> None:
    loop = asyncio.get_running_loop()
    began, before = loop.time(), pending()
    await sleep(0.05)
    assert loop.time() - began >= 0.05 - time.get_clock_info("monotonic").resolution
    assert pending() == before


@pytest.mark.parametrize("delay_s", [0, -1, -math.inf])
async def test_sleep_of_nothing_lets_others_run_once(delay_s: float) -> None:
    ran: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(ran.append, "another")
    before = pending()
    await sleep(delay_s)
    assert (ran, pending()) == (["another"], before)


async def test_a_cancelled_sleep_leaves_no_timer() -> None:
    before = pending()
    tasks = [asyncio.ensure_future(sleep(NEVER_S)) for _ in range(100)]
    await asyncio.sleep(0)
    assert pending() == before + 100
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert pending() == before
    assert all(task.cancelled() for task in tasks)


async def test_sleepers_wake_in_order() -> None:
    woken: list[float] = []

    async def wake(delay_s: float) -> None:
        await sleep(delay_s)
        woken.append(delay_s)

    await asyncio.gather(*map(wake, (0.06, 0.03, 0, -1)))
    assert woken == [0, -1, 0.03, 0.06]


# --- call_later -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [-math.inf, -1, 0, NOTHING_S, SOON_S])
async def test_a_callback_gets_its_arguments_after_this_one(delay_s: float) -> None:
    called: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
    call_later(delay_s, lambda *args: called.set_result(args), 1, 2)
    assert not called.done()
    async with asyncio.timeout(NEVER_S):
        assert await called == (1, 2)


@pytest.mark.parametrize("delay_s", [-1, 0, NOTHING_S, SOON_S])
async def test_a_cancelled_callback_is_not_called(delay_s: float) -> None:
    before = pending()
    called: list[str] = []
    timer = call_later(delay_s, called.append, "called")
    timer.cancel()
    timer.cancel()
    assert pending() == before
    await asyncio.sleep(3 * SOON_S)
    assert called == []


@pytest.mark.parametrize("delay_s", [1e7, 1e30, math.inf])
async def test_a_wait_of_years_is_cut_to_what_a_timer_can_hold(delay_s: float) -> None:
    before = pending()
    timer = call_later(delay_s, print)
    assert isinstance(timer, asyncio.TimerHandle)
    assert timer.when() - asyncio.get_running_loop().time() < 2**31 / 1000
    timer.cancel()
    assert pending() == before


# --- events and the time of day ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_s", [-1, 0, SOON_S])
async def test_waiting_for_an_event(timeout_s: float) -> None:
    event, before = asyncio.Event(), pending()
    assert await wait_for_event(event, timeout_s) is False
    event.set()
    assert await wait_for_event(event, timeout_s) is True
    assert (pending(), cancelling()) == (before, 0)


async def test_an_event_that_is_set_meanwhile() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(SOON_S, event.set)
    assert await wait_for_event(event, NEVER_S) is True


async def test_waiting_for_an_event_can_be_cancelled() -> None:
    before = pending()
    task = asyncio.ensure_future(wait_for_event(asyncio.Event(), NEVER_S))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pending() == before


def test_the_time_of_day_is_in_whole_milliseconds() -> None:
    before, now, after = time.time(), now_ms(), time.time()
    assert type(now) is int
    assert math.floor(before * 1000) <= now <= after * 1000


class Clock:
    """A time of day that can be set, and the time that elapses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall_s, self.elapsed_s = 1_000_000.0, 5.0
        monkeypatch.setattr("time.time", lambda: self.wall_s)
        monkeypatch.setattr(_time, "_clock", _time.SteadyClock(lambda: self.elapsed_s))

    def run(self, seconds: float) -> None:
        self.wall_s += seconds
        self.elapsed_s += seconds


@pytest.mark.parametrize("set_by_s", [3600, -3600])
def test_the_time_does_not_jump_with_the_clock(set_by_s: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert now_ms() == _time.latest_ms() == _time.earliest_ms() == 1_000_000_000
    clock.run(10)
    now_ms()
    clock.wall_s += set_by_s
    assert now_ms() == 1_000_010_000
    assert sorted([now_ms(), int(clock.wall_s * 1000)]) == [_time.earliest_ms(), _time.latest_ms()]
    times: list[int] = []
    for _ in range(300):
        clock.run(1)
        times.append(now_ms())
    assert times == sorted(times)
    assert 2999 <= abs(times[-1] - 1_000_310_000) <= 3001  # it follows by 1 %
    for _ in range(400):
        clock.run(1000)
        now_ms()
    assert now_ms() == _time.latest_ms() == _time.earliest_ms() == int(clock.wall_s * 1000)


def test_a_clock_that_is_far_off_counts_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    before = now_ms()
    clock.wall_s += 10 * 365 * 86_400
    assert (_time.earliest_ms(), _time.latest_ms()) == (before, before + 86_400_000)
    clock.wall_s = 0
    assert (_time.earliest_ms(), _time.latest_ms()) == (before - 86_400_000, before)
