"""
The validating webhook: what the API server asks about objects that people apply, and what it is told.

    server.py      HTTPS, and the bounds of what comes in
    review.py      bytes to a Review, a Verdict to bytes; what is forged is refused
    problems.py    what is wrong with an object by itself
    references.py  what it names, as the API has it
    rotation.py    which certificate is served, renewed, introduced to the API server
    keeping.py     carries that out

Nothing in here is needed for the operator's work: what the webhook does not see is checked when it is worked on.
"""
