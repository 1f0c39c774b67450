"""What the operator says of itself: structured logs and metrics."""
