"""What a method takes in memory, and the first way of running it that fits."""
