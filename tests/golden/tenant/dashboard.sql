SELECT ai_jobs.id, ai_jobs.progress, ai_jobs.status
FROM ai_jobs
WHERE ai_jobs.tenant_id = %s AND ai_jobs.user_id = %s ORDER BY ai_jobs.id DESC
 LIMIT %s;

SELECT count(*) AS count_1
FROM videos
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL;

SELECT effects.id, effects.name
FROM effects
WHERE effects.id IN (%s, %s, %s, %s);

SELECT token_wallets.balance, token_wallets.id, token_wallets.reserved
FROM token_wallets
WHERE token_wallets.tenant_id = %s ORDER BY token_wallets.id
 LIMIT %s;

SELECT users.id, users.name
FROM users
WHERE users.id = %s ORDER BY users.id
 LIMIT %s;

SELECT videos.effect_id, videos.id, videos.title
FROM videos
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL ORDER BY videos.created_at DESC, videos.id DESC
 LIMIT %s;
