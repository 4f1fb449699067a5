"""Environments: apps of one name in different environments are different apps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None

UNNAMED = {
    "uq": "uq_%(table_name)s_%(column_0_name)s"
}  # SQLite gave the constraint no name of its own


def upgrade() -> None:
    """Put every app there is into the environment `main`."""
    (by_name,) = sa.inspect(op.get_bind()).get_unique_constraints("apps")
    with op.batch_alter_table("apps", naming_convention=UNNAMED) as apps:
        apps.add_column(
            sa.Column("environment", sa.String(32), nullable=False, server_default="main")
        )
        apps.drop_constraint(by_name["name"] or "uq_apps_name", type_="unique")
        apps.create_unique_constraint("uq_apps_environment_name", ["environment", "name"])


def downgrade() -> None:
    """Fails where two environments have an app of one name."""
    with op.batch_alter_table("apps") as apps:
        apps.drop_constraint("uq_apps_environment_name", type_="unique")
        apps.create_unique_constraint("uq_apps_name", ["name"])
        apps.drop_column("environment")
