"""The catalog's tables. They use standard types only, so that any database that SQLAlchemy supports will do."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

collections = Table(
    "collections",
    metadata,
    Column("collection_id", Integer, primary_key=True),
    Column("home", Text, nullable=False),
    Column("name", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
    UniqueConstraint("home", "name"),
)

versions = Table(
    "versions",
    metadata,
    Column("collection_id", ForeignKey(collections.c.collection_id), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("captions", BigInteger, nullable=False),
    Column("published_at", String(32), nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Integer, primary_key=True),
    Column("collection_id", ForeignKey(collections.c.collection_id), nullable=False, index=True),
    Column("source", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("finished_at", String(32)),
    Column("total", BigInteger, nullable=False, default=0),
    Column("done", BigInteger, nullable=False, default=0),
    Column("added", BigInteger, nullable=False, default=0),
    Column("unchanged", BigInteger, nullable=False, default=0),
    Column("failed", BigInteger, nullable=False, default=0),
    Column("images_per_second", Float, nullable=False, default=0.0),
    Column("version", Integer),
)

sources = Table(
    "sources",
    metadata,
    Column("collection_id", ForeignKey(collections.c.collection_id), primary_key=True),
    Column("source", Text, primary_key=True),
    Column("told", Text, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("collection_id", ForeignKey(collections.c.collection_id), primary_key=True),
    Column("uri", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("size", BigInteger),
    Column("mtime_ns", BigInteger),
    Column("sha256", String(64)),
    Column("reason", String(64)),
    Column("sentence", Text),
    Column("image_id", BigInteger),
    Index("files_by_outcome", "collection_id", "outcome"),
)
