"""What the house offers, as staff change it. Who may is decided by the resolvers; rows are archived, never deleted."""

from actions.catalog.assets import Asset, NewAsset, create_asset_upload, place_asset
from actions.catalog.rows import archive, create, update

__all__ = [
    "Asset",
    "NewAsset",
    "archive",
    "create",
    "create_asset_upload",
    "place_asset",
    "update",
]
