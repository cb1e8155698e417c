"""What mkdocs needs beyond the pages: files of the repository that they link to travel with the site."""

import re
from pathlib import Path
from posixpath import normpath
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent.parent
_LINK: Final = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]+)(?:#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of docs/ to a copy of the file in the site; a folder's name stays, without its link."""
    folder = Path(page.file.src_uri).parent

    def replaced(link: re.Match[str]) -> str:
        path = normpath((Path("docs") / folder / link[2]).as_posix())
        if path.startswith("docs/") or not (ROOT / path).exists():
            return link[0]
        if (ROOT / path).is_dir():
            return link[1]
        uri = _in_site(path, config, files)
        return f"[{link[1]}]({'../' * len(folder.parts)}{uri})"

    return _LINK.sub(replaced, markdown)


def _in_site(path: str, config: MkDocsConfig, files: Files) -> str:
    # A Markdown file would be taken for a page, and a leading dot for something hidden.
    uri = f"repository/{path.removeprefix('.')}" + (".txt" if path.endswith(".md") else "")
    if files.get_file_from_path(uri) is None:
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return uri
