"""The verbs for outsiders: frozen suites, the grading of guesses, and the leaderboard."""
