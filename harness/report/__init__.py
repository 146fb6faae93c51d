"""Reports: tables, plots, pages and test reports from stored runs and verdicts."""
