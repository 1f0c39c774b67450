"""A flow that logs in with a Secret, reads its settings from a ConfigMap, and leaves a report."""

from typing import Any

from pydantic import SecretStr

from headrace import Secret, Variable, create_markdown_artifact, flow, get_run_logger, task


@task
def rows(user: str, password: str, limit: int) -> list[dict[str, Any]]:
    """Stands for a query: what it would connect with is in the log, as far as people may see it."""
    get_run_logger().info("connecting as %s with %s", user, password)
    return [{"order": number, "total": 10 * number} for number in range(1, limit + 1)]


@flow(log_prints=True)
def main(token: SecretStr) -> int:
    """Reads some rows and reports on them."""
    login = Secret.load("orders-db")
    found = rows(login["user"], login["password"], Variable.get("orders-settings/limit", default=3))
    print("the token of the report is", token.get_secret_value())
    create_markdown_artifact(f"# Orders\n\n{len(found)} orders.", key="orders", description="Orders of the day")
    return len(found)


if __name__ == "__main__":
    main(SecretStr("a-token"))
