"""What tasks share: reading rows, numbers, letters, choices, mathematics, spans and programs."""
