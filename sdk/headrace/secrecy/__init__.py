"""
What must not be shown.

`redaction` knows the secret values and takes them out of texts, `guarded` has all output of a process pass it, and
`parameters` finds the parameters that are secret.
"""
