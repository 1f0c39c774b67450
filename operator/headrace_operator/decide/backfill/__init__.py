"""What a Backfill does next: its partitions, its pace, and what its status tells. Pure, as all that decides."""
