"""What Argo CD is told about our kinds: Lua in `lua/`, one folder a kind, and what is generated from it."""
