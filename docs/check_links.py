"""Check every link within the built documentation: `python docs/check_links.py docs/_build/html`.

Sphinx warns of references that it resolves itself; this finds what it does not look at, such as raw HTML, images, downloads
and anchors of built pages. Links that leave the folder are not followed.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "img": "src", "link": "href", "script": "src", "source": "src"}


class Page(HTMLParser):
    """The links of a page, and the anchors that others may name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag links to, and what it is called."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if LINKS.get(tag) in given:
            self.links.append(given[LINKS[tag]])


def broken(root: Path) -> Iterator[str]:
    """One line for each link that leads nowhere."""
    paths = [path for path in sorted(root.rglob("*.html")) if path.relative_to(root).parts[0] != "_static"]  # templates
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{path.relative_to(root)}: {link}: expected a file, found none"
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(root)}: {link}: expected an anchor of that name, found none"


def main() -> int:
    """Print broken links; 1 if there are any."""
    root = Path(sys.argv[1]).resolve()
    found = list(broken(root))
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
