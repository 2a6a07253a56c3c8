"""What a zoo costs: the scheduler, one worker against two, and runs that are killed.

python benchmarks/zoo.py scheduler 800 --slots 64   # tasks that do nothing, handed out as to 64 workers
python benchmarks/zoo.py simulate 1000000 --workers 512 --task 20 --overhead 0.002
python benchmarks/zoo.py workers FOLDER       # 1 and 2 workers on the same models
python benchmarks/zoo.py kill FOLDER          # killed three times, and compared with a run that was not
"""

from __future__ import annotations

import argparse
import heapq
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

AHEAD = 3
"""Tasks that the scheduler holds for each worker: one that runs, and two."""


def nothing(task: int) -> int:
    return task


def scheduler(tasks: int, slots: int) -> None:
    """Carry out tasks that do nothing on two workers, as `rmtaudit zoo` hands them out to ``slots``."""
    from rmtaudit.engine.zoo.cluster import ClusterOptions, opened_cluster
    from rmtaudit.engine.zoo.queue import TaskQueue

    with opened_cluster(ClusterOptions(workers=2, memory=2 << 30, device="cpu").resolved()) as workers:
        queue = TaskQueue(replace(workers, slots=slots), nothing)
        for number in range(tasks):
            queue.add(number)
        before, started, cpu = memory(), time.perf_counter(), time.process_time()
        done = sum(finished is not None for finished in queue.results())
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(
        f"{done} tasks: {seconds / done * 1e3:.2f} ms each, {cpu / done * 1e3:.2f} ms of CPU in the scheduler"
    )
    print(f"memory of the scheduler: {memory() - before} KiB more at its peak")


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def simulate(tasks: int, workers: int, task: float, overhead: float) -> None:
    """Simulate a run: a scheduler that spends ``overhead`` seconds on a task, workers ``task`` seconds.

    The durations are log-normal (sigma 1), as sizes of models are; the longest are handed out first.
    """
    draw = random.Random(0)
    durations = sorted((draw.lognormvariate(-0.5, 1.0) * task for _ in range(tasks)), reverse=True)
    held: list[float] = []  # when each task that the scheduler has handed out will have ended
    free, clock, busy = [0.0] * workers, 0.0, 0.0
    heapq.heapify(free)
    for duration in durations:
        if len(held) >= AHEAD * workers:
            clock = max(clock, heapq.heappop(held))
        clock += overhead
        start = max(clock, heapq.heappop(free))
        heapq.heappush(free, start + duration)
        heapq.heappush(held, start + duration)
        busy += duration
    end = max(free)
    print(
        f"{tasks:,} tasks of {task:g} s on {workers} workers: {end / 3600:.2f} hours, workers busy "
        f"{busy / workers / end:.1%}, scheduler busy {tasks * overhead / end:.1%}"
    )


def command(folder: str, out: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "rmtaudit", "zoo", folder, "--out", str(out), "--pairs", "0", "-q", *flags]


def workers(folder: str, preset: str) -> None:
    """Time the same models on one worker and on two."""
    seconds = {}
    for number in (1, 2):
        with tempfile.TemporaryDirectory() as out:
            started = time.perf_counter()
            flags = ("--threads", str(number), "--preset", preset)
            subprocess.run(command(folder, Path(out) / "out", *flags), check=False)
            seconds[number] = time.perf_counter() - started
        print(f"{number} workers: {seconds[number]:.1f} s", flush=True)
    print(f"ratio {seconds[1] / seconds[2]:.2f}")


def kill(folder: str, preset: str, kills: int = 3) -> None:
    """Kill a run at random moments, resume it, and compare its records with those of an undisturbed run."""
    draw = random.Random()
    with tempfile.TemporaryDirectory() as place:
        calm, disturbed = Path(place) / "calm", Path(place) / "disturbed"
        started = time.perf_counter()
        subprocess.run(command(folder, calm, "--preset", preset), check=False)
        seconds = time.perf_counter() - started
        for _ in range(kills):
            process = subprocess.Popen(command(folder, disturbed, "--preset", preset), start_new_session=True)
            time.sleep(draw.uniform(0.2, 0.8) * seconds)
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"killed with {len(records(disturbed))} records written", flush=True)
        subprocess.run(command(folder, disturbed, "--preset", preset), check=False)
        first, second = records(calm), records(disturbed)
        print(f"{len(first)} records; identical: {first == second}")
        shutil.rmtree(place, ignore_errors=True)


def records(out: Path) -> dict[str, bytes]:
    store = out / "store"
    return {str(path.relative_to(store)): path.read_bytes() for path in store.glob("*/*/*/*.json")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    chosen = parser.add_subparsers(dest="what", required=True)
    each = chosen.add_parser("scheduler")
    each.add_argument("tasks", type=int)
    each.add_argument("--slots", type=int, default=2)
    each = chosen.add_parser("simulate")
    each.add_argument("tasks", type=int)
    each.add_argument("--workers", type=int, default=512)
    each.add_argument("--task", type=float, default=20.0)
    each.add_argument("--overhead", type=float, default=0.002)
    for name in ("workers", "kill"):
        each = chosen.add_parser(name)
        each.add_argument("folder")
        each.add_argument("--preset", default="fast")
    given = parser.parse_args()
    if given.what == "scheduler":
        scheduler(given.tasks, given.slots)
    elif given.what == "simulate":
        simulate(given.tasks, given.workers, given.task, given.overhead)
    elif given.what == "workers":
        workers(given.folder, given.preset)
    else:
        kill(given.folder, given.preset)


if __name__ == "__main__":
    main()
