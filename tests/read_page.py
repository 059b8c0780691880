"""A page as tags, attributes and visible text, for the tests that look at one."""

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["style"], ["script"]):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of each tag that has these values among its attributes' words."""
        found = [attrs for name, attrs in self.tags if name == tag]
        return [a for a in found if all(word in (a.get(k.strip("_")) or "").split() for k, word in wanted.items())]
