"""
What must go on working from one release to the next.

    compatibility.py    which changes of a definition break objects or programs of before
    baseline/           the definitions as the last release has them, without their texts
    v1alpha1/           objects as the last release stores them
    python -m tests.versions.baseline      takes today's definitions as the baseline: a step of each release (docs/versions.md)
"""
