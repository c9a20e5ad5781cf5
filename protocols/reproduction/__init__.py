"""Published tables made again: recipes as data, their steps as commands."""
