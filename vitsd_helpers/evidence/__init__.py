"""What is said of runs: records, statistics, attention maps."""
