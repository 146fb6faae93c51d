"""What workloads of several rooms share."""
