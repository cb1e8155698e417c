"""One module for charts of each kind: from figures to a Vega-Lite specification for a width."""
