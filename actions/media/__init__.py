"""A tenant's files and the videos made of them. What processes a video (jobs) and shows it (gallery) is younger."""

from actions.media.checks import broken
from actions.media.files import FilesDeleted, delete_file
from actions.media.outputs import check_output, new_output
from actions.media.uploads import FileUploaded, NewUpload, complete_upload, create_upload
from actions.media.videos import VideoDeleted, create_video, delete_video, update_video

__all__ = [
    "FileUploaded",
    "FilesDeleted",
    "NewUpload",
    "VideoDeleted",
    "broken",
    "check_output",
    "complete_upload",
    "create_upload",
    "create_video",
    "delete_file",
    "delete_video",
    "new_output",
    "update_video",
]
