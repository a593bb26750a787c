"""The lines of a run's JSON files, as a text editor shows them."""

import json


def events(path, kind=None):
    """Return what happened in a run, or only the events of one kind."""
    found = map(json.loads, (path / "events.jsonl").read_text().splitlines())
    return [event for event in found if kind is None or event["kind"] == kind]


def lines(path):
    """Return what is said of the files of rows."""
    return [json.loads(line) for line in (path / "graphs.jsonl").read_text().splitlines()]
