"""Runs a Dask graph in Axion's workers. Needs Dask: pip install dask."""

from dask.delayed import delayed

import axion


def square(n):
    return n * n


with axion.Executor(2) as executor:
    total = delayed(sum)([delayed(square)(n) for n in range(10)])
    print(total.compute(scheduler=executor))
