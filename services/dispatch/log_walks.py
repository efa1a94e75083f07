"""Ways through the messages of a project, from the newest to the oldest, as statements. Who takes which: log_book.py.

The walks compare and order by whole rows of an index's columns. Only that index can answer this in order, so no
statistics lead the planner to walk another one to its end for something that is not there.
"""

from dataclasses import dataclass

# $1 the project, $2 the channel, the recipient or what else leads there, $3 and $4 the ids [from, to]. The plain
# comparison of ids is for partitions: they are left out by it.
_WALKED = """
SELECT {names} FROM dispatch.messages m
WHERE ({names}) >= ({values}, $3::uuid) AND ({names}) <= ({values}, $4::uuid) AND m.id >= $3 AND m.id <= $4
  AND $2::{type} IS NOT NULL
ORDER BY {order}
"""
_WALKED_RARE = """
SELECT e.message_id AS id FROM unnest($2::smallint[]) AS s (state) CROSS JOIN LATERAL (
    SELECT message_id FROM dispatch.completions
    WHERE (project_id, state, message_id) >= ($1, s.state, $3::uuid)
      AND (project_id, state, message_id) <= ($1, s.state, $4::uuid)
      AND message_id >= $3 AND message_id <= $4 AND state NOT IN (3, 4)
    ORDER BY project_id DESC, state DESC, message_id DESC LIMIT $5
) AS e ORDER BY id DESC
"""
_WALKED_QUEUE = """
SELECT id FROM unnest($2::uuid[]) AS q (id) WHERE $1::text IS NOT NULL AND id >= $3 AND id <= $4 ORDER BY id DESC
"""
_PAGE = "SELECT ARRAY(SELECT id FROM ({walk} OFFSET $5 LIMIT $6) AS page)"
_COUNT = "SELECT count(*) FROM (SELECT FROM ({walk}) AS walked WHERE id > $3 LIMIT $5) AS counted"
# What a search walks through: of the moments before $N only what is of them, so that whoever goes on from where a
# search stopped comes further, however many messages there are of one minute.
_OLDER = """
SELECT w.* FROM ({walk}) AS w
WHERE $N::timestamptz IS NULL OR (SELECT n.created_at FROM dispatch.messages n WHERE n.id = w.id) < $N
"""
# A moment after all that was not walked through. Times follow ids but for what was accepted at once, so the next some
# tell.
_END = """
SELECT max(m.created_at) + interval '1 microsecond'
FROM ({older} OFFSET $5 LIMIT 1000) AS rest JOIN dispatch.messages m ON m.id = rest.id
""".replace("{older}", _OLDER.replace("$N", "$6"))
# What has to be read of each message is read apart from the walk, one by one, and no further than wanted.
_SEARCH = """
WITH matched AS MATERIALIZED (
    SELECT k.id FROM ({older} LIMIT $5) AS k CROSS JOIN LATERAL (
        SELECT FROM dispatch.messages m LEFT JOIN dispatch.completions c ON c.message_id = m.id
        LEFT JOIN LATERAL (
            SELECT a.provider_id, a.kind FROM dispatch.attempts a
            WHERE $10::text IS NOT NULL AND a.message_id = m.id ORDER BY a.number DESC LIMIT 1
        ) AS last ON true
        WHERE m.id = k.id AND m.project_id = $1 AND ($6::smallint IS NULL OR m.channel = $6)
          AND ($7::int[] IS NULL OR coalesce(c.state, 0) = ANY ($7))
          AND ($8::bool IS NULL OR (c.state = 6 AND c.reason = ANY ($9::text[])) = $8)
          AND ($10::text IS NULL OR $10 IN (coalesce(nullif(c.provider_id, ''), last.provider_id),
                                            coalesce(nullif(c.kind, ''), last.kind)))
          AND ($11::timestamptz IS NULL OR m.created_at >= $11) AND ($12::timestamptz IS NULL OR m.created_at < $12)
        OFFSET 0
    ) AS fits
    ORDER BY {order} LIMIT $13
)
SELECT (SELECT count(*) FROM matched) AS total,
       ARRAY(SELECT id FROM matched ORDER BY id DESC OFFSET $14 LIMIT $15) AS ids
""".replace("{older}", _OLDER.replace("$N", "$12"))


@dataclass(frozen=True, slots=True)
class Walk:
    """The statements of one way from the newest message to the oldest: a page, how many there are, a search for what
    fits a filter, where that search stops.
    """

    page: str
    count: str
    search: str
    end: str


def _walk(text: str, order: str) -> Walk:
    page, count, search, end = (
        each.replace("{walk}", text).replace("{order}", order) for each in (_PAGE, _COUNT, _SEARCH, _END)
    )
    return Walk(page, count, search, end)


def _through(*columns: str, kind: str) -> Walk:
    """The walk through the index over these columns and the id."""
    names = (*columns, "id")
    order = ", ".join(f"{name} DESC" for name in names)
    text = _WALKED.replace("{names}", ", ".join(names)).replace("{type}", kind)
    values = ", ".join(("$1", f"$2::{kind}")[: len(columns)])
    return _walk(text.replace("{values}", values).replace("{order}", order), order)


OF_PROJECT = _through("project_id", kind="smallint")
OF_CHANNEL = _through("project_id", "channel", kind="smallint")
OF_RECIPIENT = _through("project_id", "recipient", kind="text")
RARE = _walk(_WALKED_RARE, "id DESC")
IN_QUEUE = _walk(_WALKED_QUEUE, "id DESC")
