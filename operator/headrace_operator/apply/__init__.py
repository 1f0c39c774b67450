"""Actions to API calls, in order, the status last. No thinking here."""
