"""What a program hands over as objects: defenses and images, held in this process under names that settings can say."""
