"""The machine's speed and a stopwatch, on `time` alone: timing an import may import nothing else."""

import time


def gauge() -> float:
    """CPU milliseconds of a fixed piece of Python: how fast the machine is just now."""
    begun = time.process_time()
    total = 0
    for n in range(20_000):
        total += n * n % 7
    return (time.process_time() - begun) * 1000


def gauged() -> float:
    """The mean of ten gauges."""
    return sum(gauge() for _ in range(10)) / 10


class Stopwatch:
    """Wall and CPU seconds (all threads of the process) of the block."""

    wall = cpu = 0.0

    def __enter__(self) -> "Stopwatch":
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self.wall
        self.cpu = time.process_time() - self.cpu
