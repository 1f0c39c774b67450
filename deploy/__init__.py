"""What a cluster that is run from Git takes beside the chart."""
