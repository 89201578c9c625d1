SELECT purchases.id, purchases.status
FROM purchases
WHERE purchases.tenant_id = %s ORDER BY purchases.created_at DESC, purchases.id DESC
 LIMIT %s;

SELECT subscriptions.id, subscriptions.status, subscriptions.tier_id
FROM subscriptions
WHERE subscriptions.tenant_id = %s AND subscriptions.status != %s ORDER BY subscriptions.created_at DESC, subscriptions.id DESC
 LIMIT %s;
