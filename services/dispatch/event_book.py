"""How the events of a project are read after a place, for streams and webhooks alike: in commit order, only such that
nothing can still appear before them, because identity values are not in commit order.
"""

PROJECT_EVENTS = """
SELECT message_id, sequence, occurred_at, payload, transaction_id FROM dispatch.events
WHERE project_id = $1 AND (transaction_id, message_id, sequence) > ($2, $3, $4)
  AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
ORDER BY transaction_id, message_id, sequence LIMIT $5
"""
