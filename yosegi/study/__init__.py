"""A study: what recipes share. It trains what is missing, chooses settings on validation, measures, and judges claims.

study     one run over several seeds: libraries, trainings that are not repeated, kept arms
sweep     every arm chooses its own settings on validation, and the report says when one lies at an end of its grid
pace      seconds and memory of a training step, for arms of equal time
measures  the answers of all arms to the same questions, as columns of tables
claims    claims held against a paper: paired tests over seeds and questions, corrected for being many
tables    measures, sweeps and curves as findings for the report
stages    trainings of several stages that move their own entries of an expert
kinds     questions by kind and language, and the LoRAs and banks that learn from them
texts     readers of the same plain texts by several methods
banks     what the routers of banks do
"""

from yosegi.study.claims import claims, claims_finding
from yosegi.study.measures import measures
from yosegi.study.study import Study, Training, load, read
from yosegi.study.sweep import Option, sweep
from yosegi.study.tables import arms_finding

__all__ = [
    "claims",
    "Option",
    "Study",
    "Training",
    "arms_finding",
    "claims_finding",
    "load",
    "measures",
    "read",
    "sweep",
]
