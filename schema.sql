-- LightDom OCR: the tables, and the truth about them.
--
-- Names are not qualified: the service applies this file with search_path set to OCR_DB_SCHEMA (default `ocr`),
-- and so does a person:  PGOPTIONS='-c search_path=ocr' psql -c 'CREATE SCHEMA IF NOT EXISTS ocr' -f schema.sql
-- Applying it again changes nothing.

CREATE TABLE IF NOT EXISTS jobs (
    id              uuid        PRIMARY KEY,             -- also the task id of the entry task
    kind            text        NOT NULL CHECK (kind IN ('ocr', 'render', 'compress', 'decompress', 'crawl')),
    status          text        NOT NULL DEFAULT 'queued' CHECK (status IN
                        ('queued', 'preparing', 'running', 'finishing', 'succeeded', 'failed', 'cancelled')),
    priority        text        NOT NULL CHECK (priority IN ('interactive', 'bulk')),
    engine          text        NOT NULL,                -- whose queues its pages go to
    source          jsonb       NOT NULL,                -- jobs.inspecting.StoredSource
    options         jsonb       NOT NULL,                -- contract.OcrOptions
    source_pages    integer,                             -- pages the source has; null until it was inspected
    pages_total     integer,                             -- pages the job reads of them; null until then
    pages_released  integer     NOT NULL DEFAULT 0,      -- given to a range so far: the window's upper edge
    pages_succeeded integer     NOT NULL DEFAULT 0,
    pages_failed    integer     NOT NULL DEFAULT 0,
    attempt         integer     NOT NULL DEFAULT 0,      -- claims of the job's own steps (inspect, finish); the fence
    failures        integer     NOT NULL DEFAULT 0,      -- of those steps, caused by the job itself
    losses          integer     NOT NULL DEFAULT 0,      -- claims whose holder died, whoever was to blame
    lease_until     timestamptz,                         -- of the claim on inspect or finish
    sent_at         timestamptz NOT NULL DEFAULT now(),  -- when the message of the current step was last sent
    sends           integer     NOT NULL DEFAULT 0,      -- times it was sent again
    result          jsonb,                               -- format -> {blob, size_bytes}, when finished
    error           jsonb,                               -- why it failed: a problem document
    created_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    finished_at     timestamptz,
    expired_at      timestamptz,                         -- when retention took its pages and result away
    direct          boolean     NOT NULL DEFAULT false,  -- submitted as a task: its state goes to Celery's result backend
    published_at    timestamptz,                         -- when it last went there, read before it was written
    CHECK (pages_succeeded + pages_failed <= pages_released),
    CHECK (pages_released <= coalesce(pages_total, 0))
);

CREATE INDEX IF NOT EXISTS jobs_newest ON jobs (created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS jobs_live ON jobs (status, sent_at) WHERE status NOT IN ('succeeded', 'failed', 'cancelled');
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (finished_at) WHERE expired_at IS NULL;
CREATE INDEX IF NOT EXISTS jobs_published ON jobs (published_at) WHERE direct AND finished_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_source_blob ON jobs ((source ->> 'blob'));
CREATE INDEX IF NOT EXISTS jobs_prepared_blob ON jobs ((source ->> 'prepared')) WHERE source ->> 'prepared' IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_result_blobs ON jobs USING gin (jsonb_path_query_array(result, '$.*.blob'));

-- A piece of a document that one preparing task turns into page images. The row goes when its pages are there.
CREATE TABLE IF NOT EXISTS ranges (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id      uuid        NOT NULL REFERENCES jobs ON DELETE CASCADE,
    page_nos    integer[]   NOT NULL,                    -- of the source, ascending
    status      text        NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running')),
    attempt     integer     NOT NULL DEFAULT 0,          -- counts every claim; the fence
    failures    integer     NOT NULL DEFAULT 0,          -- of a single page: a longer range is halved instead
    losses      integer     NOT NULL DEFAULT 0,          -- claims whose holder died, whoever was to blame
    lease_until timestamptz,
    sent_at     timestamptz NOT NULL DEFAULT now(),
    sends       integer     NOT NULL DEFAULT 0
);

CREATE INDEX IF NOT EXISTS ranges_job ON ranges (job_id);

CREATE TABLE IF NOT EXISTS pages (
    job_id        uuid        NOT NULL REFERENCES jobs ON DELETE CASCADE,
    page_no       integer     NOT NULL CHECK (page_no >= 1),  -- of the source, so `pages=5` gives page 5
    status        text        NOT NULL DEFAULT 'queued' CHECK (status IN
                      ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt       integer     NOT NULL DEFAULT 0,        -- counts every claim; the fence
    failures      integer     NOT NULL DEFAULT 0,        -- what the page itself caused
    losses        integer     NOT NULL DEFAULT 0,        -- claims whose holder died, whoever was to blame
    isolation     text        NOT NULL DEFAULT 'none' CHECK (isolation IN
                      ('none', 'suspect', 'alone')),     -- suspect: to be run alone; alone: in the engine, alone
    node          text,                                  -- which node holds or held it
    lease_until   timestamptz,
    sent_at       timestamptz NOT NULL DEFAULT now(),
    sends         integer     NOT NULL DEFAULT 0,
    image_blob    text,                                  -- sha256 of the page's image
    media_type    text,
    width         integer,                               -- pixels
    height        integer,
    dpi           real,                                  -- null where the source does not say
    text          text,
    markdown      text,
    blocks        jsonb,                                 -- contract.Block[], reading order
    figure_blobs  text[]      NOT NULL DEFAULT '{}',     -- sha256 of the figures cut out of its image, PNG
    flags         text[]      NOT NULL DEFAULT '{}',
    vision_tokens integer,
    text_tokens   integer,
    engine        text,                                  -- what read it
    revision      text,
    mode          text,                                  -- resolution mode, of engines that have such
    retried_from  text,                                  -- mode of a first reading that was flagged
    queue_ms      integer,                               -- from its image being stored to its entering the engine
    inference_ms  integer,
    error         jsonb,                                 -- of its last failure: a problem document
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    PRIMARY KEY (job_id, page_no)
);

CREATE INDEX IF NOT EXISTS pages_live ON pages (status, sent_at) WHERE status IN ('queued', 'running');
CREATE INDEX IF NOT EXISTS pages_image_blob ON pages (image_blob);
CREATE INDEX IF NOT EXISTS pages_figure_blobs ON pages USING gin (figure_blobs);

-- One row per engine node, renewed while it lives: the live capacity that windows are cut to.
CREATE TABLE IF NOT EXISTS nodes (
    name       text        PRIMARY KEY,                  -- unique: rapid0@host, or gpu0@host for one of a pool
    engine     text        NOT NULL,
    revision   text        NOT NULL,
    capacity   integer     NOT NULL,                     -- pages its engine can hold at once; 0 while it is loaded
    state      text        NOT NULL CHECK (state IN ('loading', 'ready', 'stopping')),
    metrics    jsonb,                                    -- metrics.NodeSnapshot, null until its engine is there
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);
