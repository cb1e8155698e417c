"""Reports: sections, and what shows them. Nothing is computed here."""
