import os
import signal

import pytest

from scaling.data.processes import shared_out
from scaling.errors import UserError


def negative(number: int) -> int:
    return -number


def test_one_process_is_this_one_and_tasks_are_made_as_they_are_needed() -> None:
    asked = list[int]()

    def tasks():
        for number in range(3):
            asked.append(number)
            yield number

    results = shared_out(negative, tasks(), 1)
    assert next(results) == 0 and asked == [0]
    assert list(results) == [-1, -2]


def kill_self(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL if number == 2 else 0)
    return -number


def test_a_process_that_is_killed_is_said() -> None:
    with pytest.raises(UserError, match="a process was killed, perhaps for want of memory"):
        list(shared_out(kill_self, range(5), 2))
