"""The evaluation core: who competes, what is run, who is chosen, and the evidence."""
