"""Runs on the nodes of a Ray cluster: the driver plans and stores, Ray schedules."""
