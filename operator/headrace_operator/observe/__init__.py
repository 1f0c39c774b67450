"""The API as it was last seen: slim records, indices over them, and one frozen snapshot per reconcile."""
