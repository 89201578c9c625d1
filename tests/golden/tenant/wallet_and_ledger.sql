SELECT token_transactions.tenant_id AS at_parent, token_transactions.ai_job_id, token_transactions.amount, token_transactions.balance_after, token_transactions.id, token_transactions.kind, to_0.id AS to_0_id
FROM token_transactions LEFT OUTER JOIN ai_jobs AS to_0 ON to_0.id = token_transactions.ai_job_id AND to_0.tenant_id = %s AND to_0.user_id = %s
WHERE token_transactions.tenant_id = %s AND token_transactions.tenant_id = %s ORDER BY token_transactions.id DESC
 LIMIT %s;

SELECT token_wallets.balance, token_wallets.debt, token_wallets.id, token_wallets.tenant_id
FROM token_wallets
WHERE token_wallets.tenant_id = %s ORDER BY token_wallets.id
 LIMIT %s;
