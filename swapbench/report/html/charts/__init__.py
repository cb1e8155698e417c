"""Charts as SVG, drawn once, when the page is made: each from one picture of the analysis.

A chart is a Vega-Lite specification, which is JSON: docs/decisions/0001-plotting-library.md says why.
"""
