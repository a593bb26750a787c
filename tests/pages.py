"""Reading a page of HTML strictly: what is opened is closed, no attribute stands twice."""

import json
from html.parser import HTMLParser

VOID = {"meta", "path", "rect", "line", "polygon", "ellipse", "polyline", "circle", "input", "br"}
RAW = {"script", "style"}


class Reader(HTMLParser):
    """Reads a page and checks that what is opened is closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts, self.raw = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            if tag in RAW:
                self.raw.append([tag, dict(attrs), ""])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in RAW:
            self.raw[-1][2] += data
        else:
            self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    def data(self):
        return json.loads(next(text for tag, attrs, text in self.raw if attrs.get("type") == "application/json"))
