"""What every store does, whatever it is made of: the same tests over a file, a Redis, and a Redis Cluster."""

import itertools
import os
import stat
import threading

import numpy as np
import pytest

from ztcore.engine import Engine
from ztmon.audit import Act, export, verify, write
from ztmon.errors import DamagedError, StoreError, VersionError
from ztmon.store import packing
from ztmon.store.base import Entry, Score, copy
from ztmon.store.packing import pack_row, seal, unpack_row, unseal
from ztmon.store.redis import RedisStore
from ztmon.store.sqlite import SQLiteStore

KEY = bytes(16)
HIGH = (1 << 64) - 5
"""A key that is negative as a signed number."""

_prefixes = itertools.count()


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def store(request, tmp_path):
    """An empty store."""
    found = opened(request, request.param, tmp_path / "store.db")
    yield found
    found.close()


def opened(request, kind, path):
    if kind == "sqlite":
        return SQLiteStore(str(path))
    server = request.getfixturevalue("redis_server" if kind == "redis" else "redis_cluster")
    return RedisStore(server.url, f"test-{next(_prefixes)}")


def rows(*names):
    """Rows of partners who called a few times."""
    engine = Engine(64, KEY)
    for name in names:
        for i in range(5):
            engine.observe(name, f"/a/{i}", timestamp=1.75e9 + i)
    return {name: engine.row(name) for name in names}


def test_partners_come_back_as_they_were(store):
    """Each byte of the row, the application and the time; a second writing replaces the first."""
    found = rows("acme", "globex")
    store.save([(int(row["key"]), pack_row(row, "shop", 100.0)) for row in found.values()])
    store.save([(int(found["acme"]["key"]), pack_row(found["acme"], "shop", 200.0))])
    back = {saved.name: saved for saved in store.partners()}
    assert set(back) == {"acme", "globex"}
    assert (back["acme"].at, back["globex"].at, back["acme"].app) == (200.0, 100.0, "shop")
    for name, row in found.items():
        assert back[name].row.tobytes() == row.tobytes()
        assert store.partner(int(row["key"])).row.tobytes() == row.tobytes()
    assert store.partner(1) is None


def test_what_cannot_be_read_is_left_out_and_counted(store):
    """A damaged row hides no other."""
    found = rows("acme", "globex")
    raw = bytearray(pack_row(found["acme"], "shop", 1.0))
    raw[len(raw) // 2] ^= 0xFF
    store.save([(int(found["acme"]["key"]), bytes(raw)), (int(found["globex"]["key"]), pack_row(found["globex"], "shop", 1.0))])
    assert [saved.name for saved in store.partners()] == ["globex"]
    assert store.unreadable == 1
    with pytest.raises(DamagedError):
        store.partner(int(found["acme"]["key"]))


def test_history_is_in_the_order_of_time(store):
    """Of one partner or of all, within a span."""
    entries = [Entry(1e9 + i, key, kind, {"to": "block", "n": i})
               for i, (key, kind) in enumerate([(7, "level"), (HIGH, "anomaly"), (7, "decision")])]
    store.write(entries[::-1])
    assert store.history() == entries
    assert store.history(7) == [entries[0], entries[2]]
    assert store.history(HIGH, since=1e9 + 1, until=1e9 + 2) == [entries[1]]
    assert store.history(7, since=1e9 + 1) == [entries[2]]


def test_scores_are_one_a_minute(store):
    """The same minute written twice is one, the later value."""
    store.write_scores([Score(1000, HIGH, 12.5, 0), Score(1001, HIGH, 99.0, 4), Score(1000, 3, 1.0, 0)])
    store.write_scores([Score(1001, HIGH, 50.0, 1)])
    assert store.scores(HIGH) == [Score(1000, HIGH, 12.5, 0), Score(1001, HIGH, 50.0, 1)]
    assert store.scores(HIGH, since=60060.0) == [Score(1001, HIGH, 50.0, 1)]


def test_values_of_nobody(store):
    """Put and got; the last one counts."""
    assert store.get("common") is None
    store.put("common", b"\x00one")
    store.put("common", b"\x00two")
    assert store.get("common") == b"\x00two"


def test_the_audit_log_is_a_chain(store):
    """Lines in order, each with the hash of the one before it in its own."""
    for i in range(5):
        write(store, Act(1e9 + i, "pin", "ops", "default", "acme", "acme looked odd", {"level": "monitor"}, {"level": "block"}))
    found = list(export(store))
    assert [one["number"] for one in found] == [1, 2, 3, 4, 5]
    assert {one["name"] for one in found} == {"acme"}
    assert len({one["line"]["partner"] for one in found}) == 1
    assert "acme" not in str([one["line"] for one in found])
    assert verify(store).problems == ()
    assert verify(store, head=found[2]["hash"]).problems == ()
    assert "no line has the hash" in verify(store, head="0" * 63 + "1").problems[0]


def test_lines_of_many_writers_are_one_chain(store, request, tmp_path):
    """Two writers at once: every line is there, and the chain holds."""
    others = [store, SQLiteStore(store.path) if isinstance(store, SQLiteStore) else RedisStore(store.link.url, store.keys.prefix)]
    threads = [threading.Thread(target=lambda s=s: [write(s, Act(1e9 + i, "pin", "ops")) for i in range(40)]) for s in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (verify(store).lines, verify(store).problems) == (80, ())
    others[1].close()


def test_forgetting_erases_a_partner_and_breaks_no_chain(store):
    """Row, history, scores and name are gone, another's stay, and the log still verifies."""
    found = rows("acme", "globex")
    for name, row in found.items():
        key = int(row["key"])
        store.save([(key, pack_row(row, "default", 1.0))])
        store.write([Entry(1e9, key, "level", {})])
        store.write_scores([Score(1000, key, 5.0, 0)])
        write(store, Act(1e9, "pin", "ops", "default", name, "because of " + name))
    key = int(found["acme"]["key"])
    assert store.forget(key, "default", "acme")
    assert not store.forget(key, "default", "acme")
    assert store.partner(key) is None
    assert (store.history(key), store.scores(key)) == ([], [])
    assert [saved.name for saved in store.partners()] == ["globex"]
    assert set(store.names().values()) == {("default", "globex")}
    assert [one.get("name") for one in export(store)] == [None, "globex"]
    assert verify(store).problems == ()


def test_what_is_past_its_time_is_erased(store):
    """History, scores and the beginning of the audit log; what is left still verifies."""
    store.write([Entry(100.0 * i, 7, "level", {"n": i}) for i in range(10)])
    store.write_scores([Score(i, 7, 5.0, 0) for i in range(10)])
    for i in range(10):
        write(store, Act(100.0 * i, "pin", "ops"))
    store.expire(450.0, 650.0)
    assert [entry.data["n"] for entry in store.history()] == [5, 6, 7, 8, 9]
    assert [score.minute for score in store.scores(7)] == [8, 9]
    assert [one["number"] for one in export(store)] == [7, 8, 9, 10]
    assert [one["line"] is None for one in export(store)] == [True, False, False, False] or len(list(export(store))) == 5
    assert verify(store).problems == ()
    write(store, Act(1e4, "pin", "ops"))
    assert verify(store).problems == ()


def test_info_counts(store):
    """How many of everything."""
    found = rows("acme")
    store.save([(int(found["acme"]["key"]), pack_row(found["acme"], "default", 1.0))])
    store.write([Entry(1e9, 7, "level", {})])
    info = store.info()
    assert (info["partners"], info["history"], info["scores"], info["audit"]) == (1, 1, 0, 0)


@pytest.mark.parametrize("kinds", [("sqlite", "redis"), ("redis", "sqlite"), ("sqlite", "cluster")])
def test_one_store_becomes_another(kinds, request, tmp_path):
    """Everything is copied, the audit log with the same hashes; onto another log it is refused."""
    source, target = (opened(request, kind, tmp_path / f"{i}.db") for i, kind in enumerate(kinds))
    for name, row in rows("acme", "globex").items():
        key = int(row["key"])
        source.save([(key, pack_row(row, "default", 1.0))])
        source.write([Entry(1e9, key, "level", {"to": "block"})])
        source.write_scores([Score(1000, key, 5.0, 0)])
        write(source, Act(1e9, "pin", "ops", "default", name))
    assert copy(source, target) == {"partners": 2, "history": 2, "scores": 2, "audit": 2}
    assert list(target.audit()) == list(source.audit())
    assert target.names() == source.names()
    assert {s.key: s.row.tobytes() for s in target.partners()} == {s.key: s.row.tobytes() for s in source.partners()}
    assert verify(target).problems == ()
    with pytest.raises(StoreError, match="a log is not mixed with another"):
        copy(source, target)
    source.close()
    target.close()


# -- how a value is written ----------------------------------------------------------------------


def test_a_newer_format_is_refused():
    """By its number, with what to do; nothing is guessed."""
    import msgpack
    version, kind, inner, checksum = msgpack.unpackb(seal("row", {"a": 1}))
    with pytest.raises(VersionError, match="has format 2; this version of ztmon reads 1"):
        unseal("row", msgpack.packb([version + 1, kind, inner, checksum]))


@pytest.mark.parametrize("at", [0, 1, 5, -1, -9])
def test_a_changed_byte_is_noticed(at):
    """Wherever it is: it is called damaged, or another version, and never read."""
    raw = bytearray(seal("row", {"a": "some text that is long enough"}))
    raw[at] ^= 0x55
    with pytest.raises(StoreError):
        unseal("row", bytes(raw))


def test_a_value_of_another_kind_is_no_row():
    """The kind is under the checksum."""
    with pytest.raises(DamagedError):
        unseal("row", seal("settings", {}))


def test_a_row_of_another_layout_keeps_what_was_decided(monkeypatch):
    """Who it is, level, pin and lists are read; what it learned is not, for its bytes mean something else."""
    engine = Engine(64, KEY)
    for i in range(5):
        engine.observe("acme", "/a", timestamp=1.75e9 + i)
    engine.pin("acme", 4, float("inf"))
    monkeypatch.setattr(packing, "LAYOUT", "4-older")
    raw = pack_row(engine.row("acme"), "default", 1.0)
    monkeypatch.undo()
    saved = unpack_row(raw)
    assert (saved.learned, saved.name, int(saved.row["pin_level"]), int(saved.row["events"])) == (False, "acme", 4, 0)


def test_a_migration_brings_a_row_over(monkeypatch):
    """Where this version knows the older layout its function is used."""
    row = rows("acme")["acme"]
    monkeypatch.setattr(packing, "LAYOUT", "4-older")
    raw = pack_row(row, "default", 1.0)
    monkeypatch.undo()
    monkeypatch.setitem(packing.MIGRATIONS, "4-older", lambda data: data)
    assert unpack_row(raw).row.tobytes() == row.tobytes()
    assert unpack_row(raw).learned


# -- the file --------------------------------------------------------------------------------------


def test_the_file_is_its_owners(tmp_path):
    """Mode 0600, WAL, what is deleted is overwritten."""
    store = SQLiteStore(str(tmp_path / "folder" / "store.db"))
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert store._all("pragma journal_mode") == [("wal",)]
    row = rows("a-partner-with-a-name")["a-partner-with-a-name"]
    store.save([(int(row["key"]), pack_row(row, "default", 1.0))])
    write(store, Act(1.0, "pin", "ops", "default", "a-partner-with-a-name"))
    store.forget(int(row["key"]), "default", "a-partner-with-a-name")
    store.close()
    for name in os.listdir(tmp_path / "folder"):
        assert b"a-partner-with-a-name" not in (tmp_path / "folder" / name).read_bytes()


def test_audit_lines_cannot_be_changed_in_place(tmp_path):
    """The file itself refuses; and who takes the refusal away is found out."""
    store = SQLiteStore(str(tmp_path / "store.db"))
    for i in range(6):
        write(store, Act(float(i), "pin", "ops"))
    with pytest.raises(StoreError, match="append-only"):
        store._all("update audit set data = 'x' where number = 3")
    with pytest.raises(StoreError, match="append-only"):
        store._all("delete from audit where number = 3")
    store._all("drop trigger audit_is_kept")
    store._all("drop trigger audit_goes_in_order")
    store._all("update audit set data = replace(data, 'ops', 'ovs') where number = 3")
    assert verify(store).problems == ("line 3 or its hash was changed",)
    store._all("delete from audit where number = 5")
    assert verify(store).problems == ("line 3 or its hash was changed", "lines 5 to 5 are missing")
    store._all("delete from audit where number = 6")
    assert "the log ends with line 4; the last one written was 6" in verify(store).problems
    store.close()


def test_no_store_is_made_of_something_else(tmp_path):
    """A file that is no SQLite, a folder, a place that cannot be written."""
    (tmp_path / "text").write_text("this is no database, and it is long enough to be looked at" * 100)
    for bad in ("text", "."):
        with pytest.raises(StoreError, match=r"is no store of ztmon's|cannot be opened"):
            SQLiteStore(str(tmp_path / bad))


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    """By its number, before anything in it is touched."""
    store = SQLiteStore(str(tmp_path / "store.db"))
    store._all(f"pragma user_version={packing.FORMAT + 1}")
    store.close()
    with pytest.raises(VersionError, match="was written by a newer version"):
        SQLiteStore(store.path)


def test_another_hash_key_is_refused(tmp_path, redis_server):
    """With another key no partner would be known."""
    for store in (SQLiteStore(str(tmp_path / "store.db")), RedisStore(redis_server.url, f"test-{next(_prefixes)}")):
        store.claim(KEY)
        store.claim(KEY)
        with pytest.raises(StoreError, match="another hash_key"):
            store.claim(b"\x01" * 16)
        store.close()


def test_rows_may_hold_any_number(tmp_path):
    """Random bytes in a row come back as they were."""
    row = np.random.default_rng(1).integers(0, 256, packing.ROW.itemsize, dtype="u1").view(packing.ROW)[0]
    assert unpack_row(pack_row(row, "default", 1.0)).row.tobytes() == row.tobytes()
