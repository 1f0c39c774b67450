"""A release that a person has to approve; nothing runs while she thinks."""

from pydantic import BaseModel, Field

from headrace import PauseRejected, flow, get_run_logger, pause, task


class Approval(BaseModel):
    """What the person says."""

    replicas: int = Field(ge=1, le=20, description="How many copies of the service.")


@task
def built(version: str) -> str:
    """The image of this version."""
    return f"registry.example.org/shop:{version}"


@task
def deployed(image: str, replicas: int) -> str:
    """What runs now."""
    get_run_logger().info("%d copies of %s", replicas, image)
    return f"{replicas} x {image}"


@flow
def main(version: str = "1.0") -> str:
    """Builds, asks, deploys."""
    image = built(version)
    try:
        answer = pause(f"Deploy {image}?", wait_for_input=Approval, timeout_seconds=86400, name="deploy")
    except PauseRejected as no:
        return f"not deployed: {no.comment}"
    return deployed(image, answer.replicas)


if __name__ == "__main__":
    main()
