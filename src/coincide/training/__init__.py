"""Training: the one loop that fits networks, what it is fed, and the file that it leaves."""
