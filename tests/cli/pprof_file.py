"""Reads pprof's profile.proto by its field numbers alone, so that a test sees what pprof sees."""

import gzip


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) pairs: ints, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        yield key >> 3, value


def numbers(values):
    """A repeated integer, packed or not."""
    for value in values:
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            number, at = varint(value, at)
            yield number


class Message(dict):
    def __init__(self, data):
        super().__init__()
        for number, value in fields(data):
            self.setdefault(number, []).append(value)

    def one(self, number):
        return self.get(number, [0])[0]


class Profile:
    def __init__(self, path):
        with gzip.open(path) as file:
            top = Message(file.read())
        self.texts = [text.decode() for text in top[6]]
        self.types = [self.texts[Message(kind).one(1)] for kind in top[1]]
        self.default_type = self.texts[top.one(14)]
        self.comments = [self.texts[number] for number in numbers(top.get(13, []))]
        self.mappings = [Message(mapping) for mapping in top.get(3, [])]
        self.build_ids = [self.texts[mapping.one(6)] for mapping in self.mappings]
        functions = {f.one(1): (self.texts[f.one(2)], self.texts[f.one(4)]) for f in map(Message, top[5])}
        locations = {}
        for location in map(Message, top[4]):
            lines = [Message(line) for line in location.get(4, [])]
            locations[location.one(1)] = [(*functions[line.one(1)], line.one(2)) for line in lines]
        self.samples = []
        for sample in map(Message, top[2]):
            stack = [line for place in numbers(sample.get(1, [])) for line in locations[place]]
            self.samples.append((stack, list(numbers(sample[2]))))
