"""What every workload is made with: declarations, context, events, metrics of every run."""
