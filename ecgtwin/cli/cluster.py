"""Processes on this or other machines that take pieces of work: an engine that is there, Dask, not one of our own."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

LOCAL = "local"


@contextmanager
def engine(scheduler: str, workers: int) -> Iterator[Executor]:
    """What pieces of work are given to: the Dask cluster whose scheduler listens at an address, or, for "local", one of
    `workers` processes that is made here and ends with the run.

    A piece whose worker dies is given to another, up to Dask's own limit (`distributed.scheduler.allowed-failures`).
    ValueError where Dask is not installed or nobody answers at the address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ValueError(
            '--scheduler needs Dask: in a clone of ecgtwin run pip install ".[cluster]", on every machine'
        ) from None
    if scheduler == LOCAL:
        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()
        return
    try:
        client = Client(scheduler, timeout=20)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler at {scheduler}: {str(error)[:200]}; start one by `dask scheduler`"
        ) from None
    with client:
        yield client.get_executor()
