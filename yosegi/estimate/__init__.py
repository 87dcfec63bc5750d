"""What a training will take: memory and time, predicted before it begins."""
