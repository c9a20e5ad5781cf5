"""What attackers are after: how guesses are graded, and the floor."""
