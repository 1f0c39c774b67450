"""
What a person is told of a run that waits or died, and of a Deployment, Backfill or limit: why, and the next step.

Pure: what is known is passed in.
"""
