"""From a Review to its Verdict."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from headrace.kubeapi.errors import ApiError
from headrace_operator.admission.problems import problem_of
from headrace_operator.admission.references import verdict_on_references
from headrace_operator.admission.review import Review, Verdict
from headrace_operator.kube.cluster import Reader

log = structlog.get_logger()

LOOK_UP_S: Final = 1.0
"""For all that an object names together; the API server waits for 3 s, and somebody waits for the API server."""


async def judge(review: Review, reader: Reader) -> Verdict:
    """
    What is said about an object. Whatever cannot be looked up in time is said nothing about.

    A problem that what is stored has already is told as a warning: nobody who suspends a broken Deployment is to be kept from it.
    """
    problem = problem_of(review.kind, review.spec)
    if problem is not None and review.old is not None and problem == problem_of(review.kind, review.old):
        return Verdict(warnings=(problem,))
    if problem is not None:
        return Verdict(problem=problem)
    try:
        async with asyncio.timeout(LOOK_UP_S):
            return await verdict_on_references(review, reader)
    except (ApiError, TimeoutError) as error:
        log.warning("references_not_looked_up", error=str(error) or type(error).__name__, kind=review.kind)
        return Verdict()
