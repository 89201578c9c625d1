SELECT ai_jobs.attempts, ai_jobs.effect_id, ai_jobs.id, ai_jobs.started_at, ai_jobs.video_id, to_0.id AS to_0_id, to_0.title AS to_0_title
FROM ai_jobs LEFT OUTER JOIN videos AS to_0 ON to_0.id = ai_jobs.video_id AND to_0.tenant_id = %s AND to_0.user_id = %s AND to_0.deleted_at IS NULL
WHERE ai_jobs.tenant_id = %s AND ai_jobs.user_id = %s AND ai_jobs.status = %s ORDER BY ai_jobs.id DESC
 LIMIT %s;

SELECT effects.id, effects.name
FROM effects
WHERE effects.id IN (%s);
