SELECT ai_jobs.video_id AS at_parent, ai_jobs.effect_id, ai_jobs.id, ai_jobs.status
FROM ai_jobs
WHERE ai_jobs.tenant_id = %s AND ai_jobs.user_id = %s AND ai_jobs.video_id = %s ORDER BY ai_jobs.id DESC
 LIMIT %s;

SELECT effects.id, effects.slug
FROM effects
WHERE effects.id IN (%s);

SELECT exports.video_id, count(*) AS count_1
FROM exports
WHERE exports.tenant_id = %s AND exports.user_id = %s AND exports.video_id IN (%s) GROUP BY exports.video_id;

SELECT gallery_videos.id, gallery_videos.title
FROM gallery_videos
WHERE gallery_videos.listed = true AND gallery_videos.id IN (%s);

SELECT videos.gallery_video_id, videos.id, videos.input_file_id, videos.output_file_id, videos.tags, videos.title, to_0.id AS to_0_id, to_0.name AS to_0_name, to_1.id AS to_1_id, to_1.name AS to_1_name
FROM videos LEFT OUTER JOIN files AS to_0 ON to_0.id = videos.input_file_id AND to_0.tenant_id = %s AND to_0.user_id = %s LEFT OUTER JOIN files AS to_1 ON to_1.id = videos.output_file_id AND to_1.tenant_id = %s AND to_1.user_id = %s
WHERE videos.tenant_id = %s AND videos.user_id = %s AND videos.deleted_at IS NULL AND videos.id = %s ORDER BY videos.id
 LIMIT %s;
