"""What runs: settings, data, training, publishing, tasks and executors."""
