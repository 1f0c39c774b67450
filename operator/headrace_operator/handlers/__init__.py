"""One reconcile a kind, and the hooks that kopf calls. No thinking here: that is `decide/`."""
