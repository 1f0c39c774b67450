"""What a flow reads from its namespace: `secret` and `variable`, from the `folders` that are mounted into its pod."""
