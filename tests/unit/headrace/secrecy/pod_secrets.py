"""A flow that lets a secret out by every way that there is; loaded by another process."""

import asyncio
import base64
import json
import logging
import os
import sys
import threading
import warnings
from urllib.parse import quote

from pydantic import SecretStr

from headrace import Secret, flow, get_run_logger, runtime, task
from headrace.engine.runners import Processes


@task(task_run_name="as {password}", on_failure=lambda task, run, state: print("hook", state.message, run.title))
def raises(password):
    raise ConnectionError(f"postgres://etl:{quote(password, safe='')}@db refused {password!r}")


@task
def prints(password):
    print("from a process", password)
    get_run_logger().info("logged in a process: %s", password, extra={"also": [password]})


def _say(password):
    print("plain", password)
    for piece in (password[:3], password[3:], "\n"):
        sys.stdout.write(piece)
        sys.stdout.flush()
    print(password, file=sys.stderr)
    sys.stderr.write(json.dumps({"password": password, "list": [password]}) + "\n")
    sys.stdout.buffer.write(f"bytes {password}\n".encode())
    print(base64.b64encode(f"etl:{password}".encode()).decode())
    print(quote(password), repr(password), [password], {"a": password})
    warnings.warn(f"warned of {password}", stacklevel=1)


def _log(password):
    log = get_run_logger()
    log.warning("with %s", password, extra={"fact": password, "facts": {password: [password]}})
    logging.getLogger("library").error("of a library: %s", password)
    try:
        {}[password]
    except KeyError:
        log.exception("caught")


def _in_threads(password):
    def dies():
        raise RuntimeError(f"in a thread {password}")

    thread = threading.Thread(target=dies)
    thread.start()
    thread.join()


@flow
def leaks():
    password = Secret.load("postgres")["password"]
    assert os.environ["TOKEN"] == password
    _say(password)
    _log(password)
    _in_threads(password)
    try:
        raises(password)
    except ConnectionError:
        print("caught")
    return {"password": password, "about": [f"it is {password}", 1], password: True}


@flow(log_prints=True)
def raises_it():
    password = Secret.load("postgres")["password"]
    print("printed to the log", password)
    raises.submit(password).wait()
    raise RuntimeError(f"login of etl with {password} failed") from ValueError(password)


@flow
async def leaks_on_loop():
    password = Secret.load("postgres")["password"]
    asyncio.get_running_loop().call_exception_handler({"message": password})
    raise ExceptionGroup(password, [ValueError(password)])


@flow
def takes(password: SecretStr, plain: str = ""):
    print(runtime.flow_run.parameters, password)
    print(password.get_secret_value())
    get_run_logger().info(f"{password.get_secret_value()}")
    return password.get_secret_value()


@flow(task_runner=Processes(max_workers=1))
def takes_along(password: SecretStr):
    prints.submit(password.get_secret_value()).result()


@flow
def ends():
    password = Secret.load("postgres")["password"]
    sys.exit(f"no {password}")


if os.environ.get("LEAK_ON_IMPORT"):
    raise KeyError(os.environ["TOKEN"])
