import asyncio
from datetime import timedelta

import prefect
from prefect import flow, serve, task
from prefect.blocks.system import Secret
from prefect.futures import wait
from prefect.runtime import deployment
from prefect.schedules import Cron, Interval
from prefect.states import Completed
from prefect_aws import S3Bucket


@task(task_run_name="copy-{key}")
def copy(key):
    token = Secret.load("api-token").get()
    return token, prefect.runtime.flow_run.scheduled_start_time


@flow(on_failure=[lambda flow, run, state: print(state)])
def backup(keys: list[str] = ["a"]):
    wait([copy.submit(key) for key in keys], timeout=5)
    state = copy(keys[0], return_state=True)
    if state.is_completed():
        return Completed(message=deployment.name)
    S3Bucket.load("backups")


@prefect.flow
async def tidy(days: int):
    await asyncio.sleep(0)


if __name__ == "__main__":
    backup.serve(
        name="Backup: all keys",
        cron="0 3 * * *",
        parameters={"keys": ["a", "b"]},
        tags=["ops"],
        limit=2,
    )
    serve(
        backup.to_deployment("often", schedule=Interval(timedelta(minutes=10), timezone="UTC")),
        tidy.to_deployment(name="tidy", schedules=[Cron("0 4 * * sun", timezone="Europe/Paris")], parameters=dict(days=3)),
    )
