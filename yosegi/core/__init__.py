"""The formula: y = W x + up( mix( down(x), w ) ). Imports torch, and nothing of ours but the errors."""
