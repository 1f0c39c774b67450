"""A flow of a thousand tasks of every kind, which notes what its tasks really do; loaded by processes that are killed."""

import asyncio
import os

from headrace import flow, runtime, task

EACH = 200
"""Tasks of each of the five kinds."""
JOURNAL = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def noted(kind, number):
    """What the task returns; before that it is in the journal, in one write."""
    os.write(JOURNAL, f"{runtime.flow_run.attempt} {kind} {number}\n".encode())
    return [kind, number]


@task
def called(number):
    return noted("called", number)


@task
def submitted(number, words):
    assert words
    return noted("submitted", number)


@task
def mapped(number):
    return noted("mapped", number)


@task
async def awaited(number):
    await asyncio.sleep(0)
    return noted("awaited", number)


@task
def same():
    """Called with the same arguments each time: which of them it is, the number of the call tells."""
    return noted("same", len(SAME))


SAME = []


@flow
async def main():
    results = [called(number) for number in range(EACH)]
    futures = [submitted.submit(number, {"some", "words", f"{number}"}) for number in range(EACH)]
    results += await asyncio.gather(*[awaited(number) for number in range(EACH)])
    async for future in mapped.map(range(EACH), max_concurrency=4):
        results.append(await future)
    results += [await future for future in futures]
    for _ in range(EACH):
        SAME.append(same())  # noqa: PERF401 - each call looks at the list
    results += SAME
    return [len(results), sum(number for _, number in results), [number for _, number in SAME] == list(range(EACH))]
