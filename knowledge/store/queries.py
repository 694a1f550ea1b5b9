"""What is asked of the store: named queries that answer with plain dictionaries.

Rows come as `knowledge.schema.Observation` fields plus `id`, `gpu_id`, `model_id`, `quant_id` (None where the
name is unknown), `file`, `line`, `origin`. What the answers mean is `advisor`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import duckdb

Row = dict[str, Any]


class Wanted(NamedTuple):
    """What runs are looked for: a model or a device, best of all in a format and by an engine."""

    model_id: str
    gpu_id: str
    quant_id: str
    engine: str


OBSERVATIONS_SQL = """
select * exclude (ingest_id) from runs
where ($gpu_id is null or gpu_id = $gpu_id)
    and ($model_id is null or model_id = $model_id)
    and ($quant_id is null or quant_id = $quant_id)
    and ($engine is null or lower(engine) = lower($engine))
    and ($origin is null or origin = $origin)
    and ($text is null or contains(lower(concat_ws(' ', model, model_raw, gpu, quant, engine, engine_version,
        backend, flags, notes, source_url, file)), lower($text)))
order by observed_on desc nulls last, id
limit $limit
"""

# The same model on the same device first, then either alone; the asked format and engine before others.
# Every question in one query: a question alone takes a third of the time of ten.
EVIDENCE_SQL = """
with asked as (
    select unnest(range(len($models))) as question, unnest($models) as model, unnest($gpus) as gpu,
        unnest($quants) as quant, unnest($engines) as engine
), near as (
    select question, id, row_number() over (
        partition by question
        order by 3 * coalesce((model_id = asked.model and gpu_id = asked.gpu)::integer, 0)
                + 2 * coalesce((model_id = asked.model)::integer, 0)
                + coalesce((quant_id = asked.quant)::integer, 0)
                + coalesce((lower(observations.engine) = lower(asked.engine))::integer, 0) desc,
            observed_on desc nulls last, id
    ) as place
    from asked join observations on model_id = asked.model or gpu_id = asked.gpu
    where outcome = 'ok'
        and coalesce(decode_tps, decode_tps_total, prefill_tps, tpot_ms, ttft_ms, vram_used_gib) is not null
    qualify place <= $limit
)
select near.question, runs.* exclude (ingest_id) from near join runs using (id) order by question, place
"""

TRAINING_SQL = """
select * exclude (place) from (
    select * exclude (ingest_id), row_number() over (
        partition by source_url, gpu_id, model_id, quant_id, engine, concurrency order by id
    ) as place
    from runs order by place, id limit $most
) order by file, line, id
"""
OWN_SQL = """
select * exclude (place) from (
    select * exclude (ingest_id), row_number() over (
        partition by source_url, gpu_id, model_id, quant_id, engine, concurrency order by id
    ) as place
    from runs where origin = 'user' and ingest_id > $after order by place, id limit $most
) order by file, line, id
"""
MOST_TRAINING_ROWS = 60_000
"""Of more rows, the same number of every configuration of every source is learnt from: a source's hundredth
row of one configuration tells little, and memory and time stay bounded."""

PAIRED = (
    "engine_version", "backend", "spec_decode", "kv_type_k", "flash_attn", "ubatch", "batch", "n_cpu_moe",
    "power_limit_w",
)  # fmt: skip
"""Columns in which two runs may be the only thing that differs."""
_ALIKE = (
    "source_url", "observed_on", "gpu_id", "gpu_count", "model_id", "model_raw", "quant_id", "quant",
    "weights_gib", "engine", "engine_version", "backend", "kv_type_k", "kv_type_v", "flash_attn", "ubatch",
    "batch", "depth", "prompt_tokens", "gen_tokens", "concurrency", "ngl", "n_cpu_moe", "tp", "pp",
    "spec_decode", "offload", "power_limit_w", "ctx_limit", "vram_gib",
)  # fmt: skip
_SPOKEN_BY_FLAGS = ("spec_decode", "kv_type_k", "flash_attn")
"""What the flags of a run say too, so that they differ with it."""
_RATES = ("decode_tps", "decode_tps_total", "prefill_tps", "ttft_ms")

QUARANTINE_SQL = """
select q.* exclude (ingest_id), i.file, i.origin from quarantine q join ingests i using (ingest_id)
order by i.file, q.line limit $limit
"""

REJECTS_SQL = """
select i.file, r.line, r.column_name as "column", r.reason, r.text
from rejects r join ingests i using (ingest_id) order by r.ingest_id, r.line limit $limit
"""

INGESTS_SQL = """
select file, sha256, origin, ingested_at, rows_read as "read", rows_added as added,
    rows_duplicate as duplicates, rows_quarantined as quarantined, rows_rejected as rejected
from ingests order by ingest_id
"""

COUNTS_SQL = """
select count(*) as observations,
    count(*) filter (origin = 'shipped') as shipped,
    count(*) filter (origin = 'user') as "user",
    count(*) filter (gpu_id is null) as unknown_gpu,
    count(*) filter (model_id is null) as unknown_model,
    count(*) filter (quant_id is null and quant <> '') as unknown_quant,
    count(distinct source_url) as sources,
    (select count(*) from duplicates) as duplicates,
    (select count(*) from quarantine) as quarantined,
    (select count(*) from rejects) as rejected,
    (select count(*) from ingests) as files
from runs
"""

LAST_INGEST_SQL = 'select coalesce(max(ingest_id), 0) as "last" from ingests'

META_SQL = "select key, value from meta"


def _rows(con: duckdb.DuckDBPyConnection, sql: str, parameters: Row | None = None) -> list[Row]:
    # A cursor of its own: several threads may ask at once, and DuckDB 2 streams results.
    with con.cursor() as cursor:
        cursor.execute(sql, parameters or {})
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, cells, strict=True)) for cells in cursor.fetchall()]


def observations(
    con: duckdb.DuckDBPyConnection,
    *,
    gpu_id: str | None = None,
    model_id: str | None = None,
    quant_id: str | None = None,
    engine: str | None = None,
    text: str | None = None,
    origin: str | None = None,
    limit: int = 100,
) -> list[Row]:
    """Runs that match every filter given, newest first; `text` is looked for in all free text."""
    return _rows(
        con,
        OBSERVATIONS_SQL,
        {
            "gpu_id": gpu_id,
            "model_id": model_id,
            "quant_id": quant_id,
            "engine": engine,
            "text": text,
            "origin": origin,
            "limit": limit,
        },
    )


def evidence_rows(
    con: duckdb.DuckDBPyConnection, asked: Sequence[Wanted], *, limit: int = 200
) -> list[list[Row]]:
    """For each question successful runs of the model or on the device: both, then either, the model first."""
    models, gpus, quants, engines = (list(column) for column in zip(*asked, strict=True))
    parameters = {"models": models, "gpus": gpus, "quants": quants, "engines": engines, "limit": limit}
    found: list[list[Row]] = [[] for _ in asked]
    for row in _rows(con, EVIDENCE_SQL, parameters):
        found[row.pop("question")].append(row)
    return found


def training_rows(con: duckdb.DuckDBPyConnection, *, most: int = MOST_TRAINING_ROWS) -> list[Row]:
    """All runs in a stable order (file, line), for fitting and evaluation.

    Of more than `most`, every source's configurations in turn, in the order of their content hashes.
    """
    return _rows(con, TRAINING_SQL, {"most": most})


def own_rows(con: duckdb.DuckDBPyConnection, *, most: int, after: int = 0) -> list[Row]:
    """The user's runs, those of the ingestions after one; of more than `most` as `training_rows`."""
    return _rows(con, OWN_SQL, {"most": most, "after": after})


def last_ingest(con: duckdb.DuckDBPyConnection) -> int:
    """The number of the last file that was read; 0 in an empty store."""
    return int(_rows(con, LAST_INGEST_SQL)[0]["last"])


def pairs(con: duckdb.DuckDBPyConnection, column: str) -> list[Row]:
    """Runs of one source that differ in `column` alone (one of `PAIRED`), each pair once.

    `setting_a` and `setting_b`, then for every rate `…_ratio`, the second run's over the first's, where both
    state it.
    """
    if column not in PAIRED:
        raise ValueError(f"runs are not paired by {column}")
    beside = {"kv_type_k": ("kv_type_v",), "engine_version": ("observed_on",)}.get(column, ())
    same = [name for name in _ALIKE if name != column and name not in beside]
    alike = " and ".join(f"a.{name} is not distinct from b.{name}" for name in same)
    ratios = ", ".join(f"b.{name} / a.{name} as {name}_ratio" for name in _RATES)
    sql = f"""
    select a.engine, a.source_url, a.gpu_id, a.model_id, a.quant_id, a.concurrency, a.depth,
        cast(a.{column} as varchar) as setting_a, cast(b.{column} as varchar) as setting_b, {ratios}
    from runs a join runs b on {alike} and a.{column} < b.{column}
        and regexp_replace(coalesce(a.notes, ''), $id, '') = regexp_replace(coalesce(b.notes, ''), $id, '')
        and (coalesce(a.flags, '') = coalesce(b.flags, '') or $speaks)
    where a.outcome = 'ok' and b.outcome = 'ok'
    order by a.engine, setting_a, setting_b, a.id, b.id
    """
    return _rows(con, sql, {"id": r"\bid [a-z0-9]{12,}[^;]*", "speaks": column in _SPOKEN_BY_FLAGS})


def quarantined(con: duckdb.DuckDBPyConnection, *, limit: int = 1000) -> list[Row]:
    """Rows that say the impossible, each with its `reason`."""
    return _rows(con, QUARANTINE_SQL, {"limit": limit})


def rejects(con: duckdb.DuckDBPyConnection, *, limit: int = 1000) -> list[Row]:
    """Records that were no observations: file, line, column, reason, text."""
    return _rows(con, REJECTS_SQL, {"limit": limit})


def ingests(con: duckdb.DuckDBPyConnection) -> list[Row]:
    """Every file ever read, in order, with what became of its rows."""
    return _rows(con, INGESTS_SQL)


def counts(con: duckdb.DuckDBPyConnection) -> Row:
    """How much the store holds and how much of it has known names."""
    return _rows(con, COUNTS_SQL)[0]


def meta(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """`schema_version`, `fingerprint`, `created_by`."""
    return {row["key"]: row["value"] for row in _rows(con, META_SQL)}
