import asyncio
from datetime import timedelta

import headrace
from headrace import flow, task
from headrace import Secret, runtime
from headrace import wait
from prefect.states import Completed
from prefect_aws import S3Bucket


@task(task_run_name="copy-{key}")
def copy(key):
    token = Secret.load("api-token").get()
    return token, headrace.runtime.flow_run.scheduled_time


@flow(on_failure=[lambda flow, run, state: print(state)])
def backup(keys: list[str] = ["a"]):
    wait([copy.submit(key) for key in keys], timeout_seconds=5)
    state = copy(keys[0], return_state=True)
    if state.is_completed():
        return Completed(message=runtime.flow_run.deployment)
    S3Bucket.load("backups")


@headrace.flow
async def tidy(days: int):
    await asyncio.sleep(0)


if __name__ == "__main__":
    backup(**{"keys": ["a", "b"]})
    pass
