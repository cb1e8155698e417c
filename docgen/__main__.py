"""`python -m docgen`: make those blocks anew, and say where they changed."""

from docgen.pages import DOCS, renew_all

for path in renew_all():
    print(f"docs/{path.relative_to(DOCS)}: made anew")
