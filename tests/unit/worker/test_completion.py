"""What a cancellation does to work that must be brought to an end."""

from __future__ import annotations

import asyncio

import pytest

from harbor_aws.worker.completion import to_cancellation, to_completion


class Work:
    """Something that takes a moment, and what became of it."""

    def __init__(self, *, swallows: bool = False, raises: BaseException | None = None) -> None:
        self.began = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.seen: list[str] = []
        self._swallows = swallows
        self._raises = raises

    async def __call__(self) -> str:
        self.began.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError as error:
            self.seen.append(str(error.args[0]))
            if not self._swallows:
                raise
        if self._raises is not None:
            raise self._raises
        self.seen.append("done")
        return "result"


async def test_work_is_brought_to_its_end() -> None:
    """However often the awaiting task is cancelled; it is cancelled afterwards."""
    work = Work()
    running = asyncio.create_task(to_completion(work()))
    await work.began.wait()
    for _ in range(2):
        running.cancel("drain")
        await asyncio.sleep(0)
    work.goes_on.set()
    with pytest.raises(asyncio.CancelledError, match="drain"):
        await running
    assert work.seen == ["done"]


@pytest.mark.parametrize(("swallows", "raises"), [(False, None), (True, None), (True, ValueError("made of it"))])
async def test_a_cancellation_is_raised_as_it_came(swallows: bool, raises: Exception | None) -> None:
    """Whatever the work made of it."""
    work = Work(swallows=swallows, raises=raises)
    running = asyncio.create_task(to_cancellation(work()))
    await work.began.wait()
    running.cancel("drain")
    with pytest.raises(asyncio.CancelledError, match="drain"):
        await running
    assert work.seen[0] == "drain"


async def test_the_first_cancellation_is_the_one_that_is_raised() -> None:
    """More may come while the work cleans up."""
    work = Work(swallows=True)
    running = asyncio.create_task(to_cancellation(work()))
    await work.began.wait()
    running.cancel("drain")
    await asyncio.sleep(0)
    running.cancel("again")
    with pytest.raises(asyncio.CancelledError, match="drain"):
        await running


@pytest.mark.parametrize("raises", [None, ValueError("x"), SystemExit(3), asyncio.CancelledError("its own")])
async def test_what_work_comes_to_is_passed_on(raises: BaseException | None) -> None:
    """A result, or whatever it raises; one that exits does not end the loop."""
    work = Work(raises=raises)
    work.goes_on.set()
    if raises is None:
        assert await to_cancellation(work()) == "result"
        return
    with pytest.raises(type(raises)) as caught:
        await to_cancellation(work())
    assert caught.value is raises
