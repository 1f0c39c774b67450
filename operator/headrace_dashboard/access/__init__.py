"""Who a visitor is, what they may do, and whether a request is truly theirs. What is shown belongs into pages/."""
