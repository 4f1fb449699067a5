"""Apps, versions, functions, ports, secrets and tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "apps",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("deployed", sa.Boolean, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("stopped_at", sa.Float(53)),
    )
    op.create_table(
        "versions",
        sa.Column("app_id", sa.String(32), sa.ForeignKey("apps.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("activated_at", sa.Float(53)),
        sa.Column("manifest", sa.LargeBinary, nullable=False),
        sa.Column("functions", sa.Integer, nullable=False),
        sa.Column("rolled_back_from", sa.Integer),
    )
    op.create_table(
        "functions",
        sa.Column("app_id", sa.String(32), sa.ForeignKey("apps.id"), primary_key=True),
        sa.Column("name", sa.String(512), primary_key=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
    )
    op.create_table(
        "ports",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("port", sa.Integer, nullable=False),
    )
    op.create_table(
        "secrets",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    """Drop everything."""
    for table in ("tokens", "secrets", "ports", "functions", "versions", "apps"):
        op.drop_table(table)
