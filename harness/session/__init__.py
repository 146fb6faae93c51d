"""What every command starts from: its options, the project, the scenarios, what it prints."""
