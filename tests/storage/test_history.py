"""Whatever happens to a collection, in any order, readers see exactly what was published."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import storage.segments.merging
from storage import Home, Manifest
from storage.maintenance import Maintenance, versions
from storage.verification import verify
from tests.support.storage_examples import ENCODER, add_colours, nearest

COLOUR = st.sampled_from(["red", "green", "blue", "yellow", "white", "black"])


class History(RuleBasedStateMachine):
    """A model that the collection is compared with.

    `published` and `pending` are colours by image id; `used` are the ids that a reader may have seen.
    """

    @initialize()
    def begin(self):
        self.folder = tempfile.mkdtemp()
        self.collection = Home(self.folder).create_collection("walls")
        self.published, self.pending, self.dead, self.used, self.rebuild = {}, {}, set(), set(), False
        self.past = {}
        self.merging = mock.patch.object(storage.segments.merging, "MAX_SMALL", 2)
        self.merging.start()
        self.writer = self.collection.writer(ENCODER.fingerprint)

    @rule(colours=st.lists(COLOUR, min_size=1, max_size=3))
    def add(self, colours):
        ids = add_colours(self.writer, *colours)
        assert self.used.isdisjoint(ids)
        self.pending.update(zip(ids, colours, strict=True))

    @rule(data=st.data())
    def remove(self, data):
        living = sorted(({} if self.rebuild else self.published).keys() | self.pending.keys())
        if living:
            victim = data.draw(st.sampled_from(living))
            self.dead.add(victim)
            self.writer.tombstone(victim)

    @rule()
    def publish(self):
        if self.pending or not self.rebuild:
            whole = self.pending if self.rebuild else {**self.published, **self.pending}
            self.published = {id: colour for id, colour in whole.items() if id not in self.dead}
            self.used.update(whole)
        self.writer.publish()
        self.pending = {}
        self.restart(rebuild=False)

    @rule()
    def die_while_publishing(self):
        with mock.patch.object(Manifest, "save", side_effect=SystemExit), suppress(SystemExit):
            self.writer.publish()
        self.restart(rebuild=self.rebuild)

    @rule(rebuild=st.booleans())
    def restart(self, rebuild):
        """End the run, as if it was killed, and begin another."""
        self.writer.close()
        if rebuild != self.rebuild:
            self.pending = {}
        self.rebuild, self.dead = rebuild, set()
        self.writer = self.collection.writer(ENCODER.fingerprint, rebuild=rebuild)
        assert set(self.writer.adopted.image_ids().tolist()) == set(self.pending)

    @rule(data=st.data())
    def roll_back(self, data):
        """Roll back to any version that is kept. What was not published is lost."""
        current = self.collection.manifest.version
        old = [one["version"] for one in versions(Home(self.folder), "walls")["versions"] if one["version"] < current]
        if old:
            version = data.draw(st.sampled_from(old))
            self.maintain(lambda writer: writer.roll_back(version))
            self.published = self.past[version]

    @rule(keep=st.integers(0, 5))
    def compact(self, keep):
        if self.collection.manifest.version:
            self.maintain(lambda writer: (writer.compact(), writer.prune(keep)))
            assert self.collection.manifest.tombstones == ()

    def maintain(self, act):
        self.writer.close()
        with Maintenance(self.collection.folder, drop_unfinished=True) as writer:
            act(writer)
        self.pending = {}
        self.restart(rebuild=False)

    @invariant()
    def what_was_published_is_remembered(self):
        if hasattr(self, "collection"):
            self.past[self.collection.manifest.version] = dict(self.published)

    @invariant()
    def readers_see_what_was_published(self):
        if not hasattr(self, "collection") or self.collection.manifest.version == 0:
            return
        assert verify(Home(self.folder), "walls")["problems"] == []
        snapshot = self.collection.open_snapshot()
        assert snapshot.image_ids().tolist() == sorted(self.published)
        assert snapshot.image_index.count == len(self.published)
        assert snapshot.caption_count == snapshot.caption_index.count == 2 * len(self.published)
        for image_id, colour in self.published.items():
            texts = [caption.text for caption in snapshot.captions_of([image_id])[image_id]]
            assert texts == [f"a {colour} wall", "一面墙"]
            assert self.published[nearest(snapshot, colour)] == colour

    def teardown(self):
        if hasattr(self, "writer"):
            self.writer.close()
            self.merging.stop()
            shutil.rmtree(self.folder)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
