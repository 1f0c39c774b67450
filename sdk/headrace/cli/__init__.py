"""The `headrace` command (also `kubectl headrace`): one module a command, formatting apart from reading."""
