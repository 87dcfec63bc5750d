"""One renderer of every figure and table of the report.

`scale` maps numbers to places in per cent, `marks` are the primitives (lines, dots, bars, bands, rows with intervals, heat maps,
coloured tiles), `figure` turns the figures of findings.json into them, `table` does the same for tables. The page prints them
through the macros of draw.html.j2, and `png` draws the same objects with matplotlib.
"""
