"""Training: one run of supervised fine-tuning or pre-training, resumable to the last bit."""
