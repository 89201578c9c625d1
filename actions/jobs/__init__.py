"""AI jobs and exports of videos: queued, carried out by our worker or by others, settled in tokens."""

from actions.jobs import popularity, posters, render
from actions.jobs.exports import create_export
from actions.jobs.outside_workers import (
    Claim,
    LeaseState,
    claim_ai_jobs,
    complete_ai_job,
    create_ai_job_output,
    fail_ai_job,
    heartbeat_ai_job,
)
from actions.jobs.states import AiJobEnded, VideoReady
from actions.jobs.submit import cancel_ai_job, submit_ai_job

__all__ = [
    "AiJobEnded",
    "Claim",
    "LeaseState",
    "VideoReady",
    "cancel_ai_job",
    "claim_ai_jobs",
    "complete_ai_job",
    "create_ai_job_output",
    "create_export",
    "fail_ai_job",
    "heartbeat_ai_job",
    "popularity",
    "posters",
    "render",
    "submit_ai_job",
]
