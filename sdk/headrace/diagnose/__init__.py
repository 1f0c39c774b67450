"""What a person is told of a run that waits or died: why, and the next step. Pure: what is known is passed in."""
