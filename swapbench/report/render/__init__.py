"""What shows sections: a terminal, Markdown, HTML."""
