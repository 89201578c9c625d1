SELECT count(*) AS count_1
FROM exports
WHERE exports.tenant_id = %s AND exports.user_id = %s;

SELECT files.id, files.name, files.sha256, files.status
FROM files
WHERE files.tenant_id = %s AND files.user_id = %s AND files.status != %s ORDER BY files.id DESC
 LIMIT %s;
