-- Schema 1 of the store. Columns between `line` and `notes` are the fields of `knowledge.schema.Observation`.
-- Constraints live here because DuckDB cannot add them later: a changed schema is a rebuilt store.

create table meta (
    key varchar primary key,
    value varchar not null
);

create type origin as enum ('shipped', 'user');
create type outcome as enum ('ok', 'oom', 'error');
create type offload as enum ('', 'full', 'partial', 'cpu');

-- One row per file read. The balance of the counts is the promise that no row vanishes.
create table ingests (
    ingest_id integer primary key,
    file varchar not null,
    sha256 varchar not null,
    origin origin not null,
    ingested_at timestamp not null,
    rows_read bigint not null,
    rows_added bigint not null check (rows_added >= 0),
    rows_duplicate bigint not null check (rows_duplicate >= 0),
    rows_quarantined bigint not null check (rows_quarantined >= 0),
    rows_rejected bigint not null check (rows_rejected >= 0),
    check (rows_read = rows_added + rows_duplicate + rows_quarantined + rows_rejected)
);

create table observations (
    id varchar primary key check (length(id) = 32),
    ingest_id integer not null,
    line bigint not null check (line >= 1),
    source_url varchar not null check (source_url <> ''),
    observed_on date,
    model varchar not null check (model <> ''),
    model_raw varchar not null,
    weights_gib double check (weights_gib > 0 and isfinite(weights_gib)),
    params_b double check (params_b > 0 and isfinite(params_b)),
    quant varchar not null,
    engine varchar not null,
    engine_version varchar not null,
    backend varchar not null,
    gpu varchar not null check (gpu <> ''),
    gpu_count integer check (gpu_count >= 1),
    vram_gib double check (vram_gib > 0 and isfinite(vram_gib)),
    power_limit_w double check (power_limit_w > 0 and isfinite(power_limit_w)),
    tp integer check (tp >= 1),
    pp integer check (pp >= 1),
    ngl integer check (ngl >= -1),
    n_cpu_moe integer check (n_cpu_moe >= 0),
    offload offload not null,
    kv_type_k varchar not null,
    kv_type_v varchar not null,
    flash_attn boolean,
    ctx_limit bigint check (ctx_limit >= 0),
    depth bigint check (depth >= 0),
    prompt_tokens bigint check (prompt_tokens >= 0),
    gen_tokens bigint check (gen_tokens >= 0),
    concurrency integer check (concurrency >= 1),
    batch integer check (batch >= 1),
    ubatch integer check (ubatch >= 1),
    spec_decode varchar not null,
    flags varchar not null,
    decode_tps double check (decode_tps > 0 and isfinite(decode_tps)),
    decode_tps_total double check (decode_tps_total > 0 and isfinite(decode_tps_total)),
    prefill_tps double check (prefill_tps > 0 and isfinite(prefill_tps)),
    ttft_ms double check (ttft_ms > 0 and isfinite(ttft_ms)),
    tpot_ms double check (tpot_ms > 0 and isfinite(tpot_ms)),
    stddev_tps double check (stddev_tps >= 0 and isfinite(stddev_tps)),
    vram_used_gib double check (vram_used_gib > 0 and isfinite(vram_used_gib)),
    outcome outcome not null,
    notes varchar not null,
    -- What the names resolved to in the catalog; NULL when they name nothing known.
    gpu_id varchar,
    model_id varchar,
    quant_id varchar
);

-- Rows that say the impossible: kept whole, never learned from.
create table quarantine as select *, ''::varchar as reason from observations limit 0;

-- Rows that say again what a kept row (`id`) says, perhaps in another place.
create table duplicates (
    id varchar not null,
    ingest_id integer not null,
    line bigint not null,
    source_url varchar not null
);

-- Records that are not observations at all.
create table rejects (
    ingest_id integer not null,
    line bigint not null,
    column_name varchar,
    reason varchar not null,
    text varchar not null
);

create view runs as
    select o.*, i.file, i.origin, i.ingested_at from observations o join ingests i using (ingest_id);
