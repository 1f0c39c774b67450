"""What a flow author imports: the public names, and nothing else."""
