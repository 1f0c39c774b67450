"""The thinking, pure: a snapshot and the time in, a Decision out. No client, no clock, no loop."""
