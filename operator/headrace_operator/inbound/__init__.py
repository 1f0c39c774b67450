"""Requests that come in for Automations: every replica takes them, whoever leads. No FlowRun is made here, and no secret is kept for long."""
