"""
Flows that wait for a person or a time.

In a pod a pause ends the attempt: the operator waits, and tells the next attempt how the pause was answered. On a laptop
the terminal is asked, and a sleep just sleeps.
"""
