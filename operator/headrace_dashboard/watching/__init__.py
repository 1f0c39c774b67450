"""What the cluster holds, kept up to date by one stream a kind, however many browsers look. Rights belong into access/."""
