"""Everything that asks a model anything: which arm answers, from text to tokens, likelihoods, answers."""
