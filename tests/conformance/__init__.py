"""What durable execution promises, told as scenarios: a handler, a story of interruptions, the history that must come of it."""
