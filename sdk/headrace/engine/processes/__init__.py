"""Tasks in processes of their own: what goes over to them (errands), who sends it (crew), who does it (worker)."""
