"""The tables, as this version of the code knows them; migrations bring a database to this shape."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

apps = sa.Table(
    "apps",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("environment", sa.String(32), nullable=False, server_default="main"),
    sa.Column("deployed", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("stopped_at", sa.Float(53)),
    sa.UniqueConstraint("environment", "name", name="uq_apps_environment_name"),
)

# A version is written before it goes live and gets `activated_at` once it serves.
versions = sa.Table(
    "versions",
    metadata,
    sa.Column("app_id", sa.ForeignKey("apps.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("activated_at", sa.Float(53)),
    sa.Column("manifest", sa.LargeBinary, nullable=False),
    sa.Column("functions", sa.Integer, nullable=False),
    sa.Column("rolled_back_from", sa.Integer),
)

functions = sa.Table(
    "functions",
    metadata,
    sa.Column("app_id", sa.ForeignKey("apps.id"), primary_key=True),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("id", sa.String(32), nullable=False, unique=True),
)

ports = sa.Table(
    "ports",
    metadata,
    sa.Column("host", sa.String(255), primary_key=True),
    sa.Column("port", sa.Integer, nullable=False),
)

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
)

proxy_tokens = sa.Table(
    "proxy_tokens",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
)
