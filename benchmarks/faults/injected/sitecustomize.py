"""Faults inside the processes of a study: first on ``PYTHONPATH``, each asked for by an environment variable.

``CHAOS_FILL``: a regular expression; before the first file operation it matches (``write PATH``,
``read PATH``, ``mkdir PATH``, ``link FROM``, ``rename FROM``) the file ``CHAOS_BALLAST`` grows until its
file system is full.
``CHAOS_DIE``: regular expressions, one a line; the process is killed before the first operation that matches
the last of them, after one that matched each of the others in turn. Besides those above ``run COMMAND``.
``CHAOS_FILE_BYTES``: no training process can write a file beyond this size.
``CHAOS_CLOCK``: a number; the wall clock jumps by up to two days, forward and backward, all the time.
"""

import builtins
import datetime
import os
import random
import re
import resource
import signal
import sys
import time
import types

VERBS = {"open": "", "os.mkdir": "mkdir", "os.link": "link", "os.rename": "rename"}


def operation(event: str, arguments: tuple) -> str:
    """What a process is about to do, as the patterns have it; nothing if they know no word for it."""
    if event == "subprocess.Popen":
        return f"run {' '.join(map(os.fspath, arguments[1]))}"
    if event not in VERBS or not isinstance(arguments[0], str | os.PathLike):
        return ""
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    return f"{VERBS[event] or ('write' if writes else 'read')} {os.fspath(arguments[0])}"


def fill_before(wanted: re.Pattern[str], ballast: str) -> None:
    filled = False

    def hook(event: str, arguments: tuple) -> None:
        nonlocal filled
        if not filled and wanted.search(operation(event, arguments)) and not os.path.exists(ballast):
            filled = True
            fill(ballast)

    sys.addaudithook(hook)


def die_before(*wanted: re.Pattern[str]) -> None:
    left = list(wanted)

    def hook(event: str, arguments: tuple) -> None:
        if left[0].search(operation(event, arguments)):
            if len(left) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            left.pop(0)

    sys.addaudithook(hook)


def fill(ballast: str) -> None:
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        os.close(descriptor)


def jump(seed: int) -> None:
    chance = random.Random(seed + os.getpid())
    true = {name: getattr(time, name) for name in ("time", "time_ns", "gmtime", "localtime")}

    def now() -> float:
        return true["time"]() + chance.uniform(-48, 48) * 3600

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.fromtimestamp(now(), tz)

    # Extension modules need the true class: only our own modules get this one.
    ours, real_import = types.ModuleType("datetime"), builtins.__import__
    vars(ours).update(vars(datetime), datetime=Jumping)

    def importing(name, globals=None, *more, **named):
        known = str((globals or {}).get("__name__")).split(".")[0] in ("scaling", "analysis")
        return ours if name == "datetime" and known else real_import(name, globals, *more, **named)

    builtins.__import__ = importing
    time.time, time.time_ns = now, lambda: int(now() * 1e9)
    time.gmtime = lambda *seconds: true["gmtime"](*seconds or (now(),))
    time.localtime = lambda *seconds: true["localtime"](*seconds or (now(),))


if "CHAOS_FILL" in os.environ:
    fill_before(re.compile(os.environ["CHAOS_FILL"]), os.environ["CHAOS_BALLAST"])
if "CHAOS_DIE" in os.environ:
    die_before(*map(re.compile, os.environ["CHAOS_DIE"].splitlines()))
if "CHAOS_FILE_BYTES" in os.environ and "scaling.train" in sys.orig_argv:
    sys.dont_write_bytecode = True  # it would be cut
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["CHAOS_FILE_BYTES"]),) * 2)
if "CHAOS_CLOCK" in os.environ:
    jump(int(os.environ["CHAOS_CLOCK"]))
