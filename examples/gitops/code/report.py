"""A flow whose code is a file in Git, and a ConfigMap in the cluster."""

from headrace import flow


@flow
def main(name: str = "world") -> str:
    return f"Hello, {name}!"
