SELECT domains.tenant_id AS at_parent, domains.host
FROM domains
WHERE domains.tenant_id IN (%s) ORDER BY domains.tenant_id, domains.host
 LIMIT %s;

SELECT personal_access_tokens.user_id AS at_parent, personal_access_tokens.id, personal_access_tokens.name
FROM personal_access_tokens
WHERE personal_access_tokens.user_id = %s AND personal_access_tokens.user_id = %s ORDER BY personal_access_tokens.id DESC
 LIMIT %s;

SELECT tenants.id
FROM tenants
WHERE tenants.state IN (%s, %s) AND tenants.id = %s ORDER BY tenants.id
 LIMIT %s;

SELECT tenants.id
FROM tenants
WHERE tenants.state IN (%s, %s) AND tenants.id = %s ORDER BY tenants.id
 LIMIT %s;

SELECT users.email, users.id, users.name
FROM users
WHERE users.id = %s ORDER BY users.id
 LIMIT %s;
