"""How a Backfill's status tells which of its partitions ended how. Pure; no client, and nothing that a run pod needs."""
