"""Leases of AI jobs that ran out: the job waits again, or has failed and frees its tokens, with no worker asking.

Our own workers take over what they find; jobs of workers that are not ours would else wait for one that never comes.
"""

from actions.jobs import states
from actions.jobs.submit import AI_JOB
from base import errors, observe
from base.ids import Id
from db import work
from db.tables.pool.jobs import AiJob
from tenancy.context import House
from tenancy.handlers import every

SECONDS_BETWEEN_LOOKS = 15
LOST_MAX = 50
LEASE_SECONDS = 60
OWNER = "lost"


@every(SECONDS_BETWEEN_LOOKS, "lost_leases")
async def take_back(house: House) -> int:
    """End the attempts whose lease ran out; how many.

    1 central: the expired leases are taken, so that one worker deals with each; 2 pool: QUEUED, or FAILED after
    the last attempt; 3 central: ready again, or among the failed. A crash after 1 or 2 lets our lease run out.
    """
    system = house.system()
    leases = await system.on_system(work.take_expired, [AI_JOB], OWNER, most=LOST_MAX, seconds=LEASE_SECONDS)
    for lease in leases:
        try:
            await _end_attempt(house, lease)
        except errors.AtriumError as error:
            # Its pool does not answer: our lease runs out, too, and somebody looks again.
            observe.note(observe.Event.LOOP_FAILED, loop="lost_leases", tenant=lease.tenant_id, error=repr(error))
    return len(leases)


async def _end_attempt(house: House, lease: work.Lease) -> None:
    job_id: Id[AiJob] = Id(lease.ref_id)
    lost = lease.attempt - 1
    theirs = await house.system_of(lease.tenant_id)
    await theirs.on_pool(states.fail, job_id, attempt=lost, message=states.LOST, retry=True)
    if lost < states.ATTEMPTS_MAX:
        await theirs.on_system(work.give_back, lease, seconds=work.RETRY_SECONDS)
    else:
        await theirs.on_system(work.fail, lease, states.LOST, retry=False)
