"""What Automations decide: which events count, what is done about them. No secrets, no requests, no clock."""
