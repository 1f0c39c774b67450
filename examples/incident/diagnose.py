"""Looks what is wrong with a service, and leaves a report."""

from headrace import create_markdown_artifact, flow, task


@task(retries=2)
def facts(service: str) -> dict[str, str]:
    """What is to be known; a real flow would ask the service, its pods and its database."""
    return {"service": service, "pods": "2 of 3 ready", "since": "the last deployment"}


@flow
def main(service: str = "shop", alert: str = "made by hand") -> str:
    """Gathers facts, writes the report, and says in a line what is in it."""
    found = facts(service)
    lines = [f"# {alert}", *(f"- {name}: {value}" for name, value in found.items())]
    create_markdown_artifact("\n".join(lines), key="report", description=f"What is wrong with {service}")
    return f"{service}: {found['pods']}, since {found['since']}"


if __name__ == "__main__":
    main()
