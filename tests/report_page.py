"""What a reader sees of the report: its text, its tables, where its links lead."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The visible text of a page, its tables and links, and whether its tags close in order."""

    VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.links, self.ids, self.open = "", [], [], []
        self.tables: list[list[list[str]]] = []
        """Rows of cells, their words one space apart; a cell of several rows stands in each."""
        self._left = 0
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
            if self._left:
                self.tables[-1][-1].append(self.tables[-1][-2][0])
                self._left -= 1
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._left = max(self._left, int(dict(attrs).get("rowspan", 1)) - 1)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not {"style", "script", "svg"} & set(self.open):
            self.text += data
        if {"td", "th"} & set(self.open):
            cells = self.tables[-1][-1]
            cells[-1] = " ".join([*cells[-1].split(), *data.split()])

    def table(self, *head: str) -> list[list[str]]:
        """The rows, without the head, of the one table whose head begins so."""
        [found] = [rows for rows in self.tables if rows[0][: len(head)] == list(head)]
        return found[1:]
