"""The public gallery: what is published is copied and shown there, counted when watched, hidden with its tenant."""

from actions.gallery.publish import (
    Published,
    VideoPublished,
    VideoUnpublished,
    publish,
    publish_video,
    unpublish_video,
)
from actions.gallery.showing import tag_keys
from actions.gallery.suspension import hide_tenant
from actions.gallery.views import record_view

__all__ = [
    "Published",
    "VideoPublished",
    "VideoUnpublished",
    "hide_tenant",
    "publish",
    "publish_video",
    "record_view",
    "tag_keys",
    "unpublish_video",
]
