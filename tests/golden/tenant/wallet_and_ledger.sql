SELECT of_0.at_parent, of_0.ai_job_id, of_0.amount, of_0.balance_after, of_0.id, of_0.kind, of_0.to_0_id
FROM (SELECT token_transactions.tenant_id AS at_parent, token_transactions.ai_job_id AS ai_job_id, token_transactions.amount AS amount, token_transactions.balance_after AS balance_after, token_transactions.id AS id, token_transactions.kind AS kind, to_0.id AS to_0_id
FROM token_transactions LEFT OUTER JOIN ai_jobs AS to_0 ON to_0.id = token_transactions.ai_job_id AND to_0.tenant_id = %s AND to_0.user_id = %s
WHERE token_transactions.tenant_id = %s AND token_transactions.tenant_id = %s ORDER BY token_transactions.id DESC
 LIMIT %s) AS of_0;

SELECT token_wallets.balance, token_wallets.debt, token_wallets.id, token_wallets.tenant_id
FROM token_wallets
WHERE token_wallets.tenant_id = %s ORDER BY token_wallets.id
 LIMIT %s;
