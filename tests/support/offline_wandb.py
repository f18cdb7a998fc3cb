"""Reads what W&B writes offline, without W&B but for its message types."""

import json
import struct
import time
import zlib


def records_of(path):
    """Records of an offline .wandb file: a LevelDB log of protobuf messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, message = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        checksum, size, kind = struct.unpack("<IHB", data[place : place + 7])
        chunk = data[place + 7 : place + 7 + size]
        if len(chunk) < size:
            return  # still being written
        assert zlib.crc32(chunk, zlib.crc32(bytes([kind]))) == checksum
        place += 7 + size
        message = chunk if kind in (1, 2) else message + chunk
        if kind in (1, 4):
            yield Record.FromString(message)


def items_of(updates):
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}


def parts_of(folder):
    """The .wandb files of a run folder; a run that was continued has several."""
    return sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.parent.name)


class Dashboard:
    """What W&B would show of one run folder, or of one of its parts.

    Args:
        folder: the run's, with one part; or a part.
        ended: wait until it was finished. Not so a killed one.
    """

    def __init__(self, folder, ended=True):
        self.path = folder
        if folder.is_dir():
            (self.path,) = parts_of(folder)
        self.files = self.path.parent / "files"
        # wandb's own process writes the end of the file in its own time.
        deadline = time.monotonic() + 20
        while True:
            self.records = list(records_of(self.path))
            if not ended or any(record.HasField("exit") for record in self.records):
                break
            assert time.monotonic() < deadline, "the run was never finished"
            time.sleep(0.05)
        self.config, self.summary, self.history, self.exits = {}, {}, [], []
        self.artifacts = []
        for record in self.records:
            match record.WhichOneof("record_type"):
                case "run":
                    self.run = record.run
                    self.config |= items_of(record.run.config.update)
                case "config":
                    self.config |= items_of(record.config.update)
                case "summary":
                    self.summary |= items_of(record.summary.update)
                case "history":
                    self.history.append(items_of(record.history.item))
                case "artifact":
                    self.artifacts.append(record.artifact)
                case "exit":
                    self.exits.append(record.exit.exit_code)
        self.config.pop("_wandb", None)
