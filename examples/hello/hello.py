"""The smallest flow: a function with a decorator, and a task that it calls."""

from headrace import flow, task


@task
def greeting(name: str) -> str:
    """What to say."""
    return f"Hello, {name}!"


@flow(log_prints=True)
def main(name: str = "world") -> str:
    """Says hello."""
    print(text := greeting(name))
    return text


if __name__ == "__main__":
    main()
