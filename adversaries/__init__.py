"""The attacker: adversaries, their threat models, goals and controls."""
