"""Ending tasks for certain: before Python 3.12 `asyncio.wait_for` may swallow a cancellation, so one is not enough."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.1


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended; what they raise is dropped."""
    waiting = {task for task in tasks if task is not asyncio.current_task()}
    while waiting:
        for task in waiting:
            task.cancel()
        ended, waiting = await asyncio.wait(waiting, timeout=AGAIN_S)
        for task in ended:
            if not task.cancelled():
                task.exception()  # seen, so that it is not reported as forgotten
