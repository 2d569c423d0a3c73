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
    options         jsonb       NOT NULL,                -- kinds.options_of(kind)
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
CREATE INDEX IF NOT EXISTS jobs_counted ON jobs (finished_at) WHERE status IN ('succeeded', 'failed');
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
    offset_y      integer,                               -- of a harvest: where the page begins in its screenshot
    source_text   text,                                  -- of a harvest: what stands on the page, from the browser
    compression_id uuid,                                 -- of a decompress job: the vision tokens to be decoded
    text          text,
    markdown      text,
    blocks        jsonb,                                 -- contract.Block[], reading order
    figure_blobs  text[]      NOT NULL DEFAULT '{}',     -- sha256 of the figures cut out of its image, PNG
    flags         text[]      NOT NULL DEFAULT '{}',
    vision_tokens integer,
    text_tokens   integer,                               -- of source_text where there is one, else of the answer
    tokens_blob   text,                                  -- sha256 of its vision tokens, a container
    tokens        jsonb,                                 -- reading.StoredTokens: what is in it
    quality       real,                                  -- 1 - character error rate of what they decode to; 0 to 1
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
CREATE INDEX IF NOT EXISTS pages_tokens_blob ON pages (tokens_blob) WHERE tokens_blob IS NOT NULL;

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

-- The DOM and the screenshot of one page of the web at one time. Rows stay until somebody deletes them.
CREATE TABLE IF NOT EXISTS dom_harvests (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    dom_id       text        NOT NULL,                   -- the caller's own, else the id again
    job_id       uuid        NOT NULL,                   -- that harvested it
    url          text,                                   -- asked for; null for HTML that was handed in
    final_url    text,                                   -- after redirects
    http_status  integer,
    title        text,
    text         text        NOT NULL,                   -- what is visible
    text_runs    jsonb       NOT NULL,                   -- [{text, box}]: box in pixels of the screenshot
    frames       jsonb       NOT NULL,                   -- [{url, dom}]: documents inside the page
    dom_blob     text        NOT NULL,                   -- sha256 of the HTML after scripts, UTF-8
    dom_bytes    bigint      NOT NULL,
    image_blob   text        NOT NULL,                   -- sha256 of the screenshot
    media_type   text        NOT NULL,                   -- of the screenshot
    image_bytes  bigint      NOT NULL,
    width        integer     NOT NULL,                   -- pixels of the screenshot
    height       integer     NOT NULL,
    device_scale real        NOT NULL,                   -- pixels per CSS pixel
    clip         jsonb,                                  -- what a limit kept off the screenshot; null: all is there
    settled      boolean     NOT NULL,                   -- what was waited for came about in time
    pages        jsonb       NOT NULL,                   -- [{top, bottom}]: where it is cut into pages, in pixels
    options      jsonb       NOT NULL,                   -- it was rendered with
    timings      jsonb       NOT NULL,                   -- step -> milliseconds
    blocked      jsonb       NOT NULL,                   -- [{url, reason}]: what it was not let reach
    browser      text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS dom_harvests_dom ON dom_harvests (dom_id, created_at DESC);
CREATE INDEX IF NOT EXISTS dom_harvests_url ON dom_harvests (url, created_at DESC);
CREATE INDEX IF NOT EXISTS dom_harvests_newest ON dom_harvests (created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS dom_harvests_job ON dom_harvests (job_id);
CREATE INDEX IF NOT EXISTS dom_harvests_dom_blob ON dom_harvests (dom_blob);
CREATE INDEX IF NOT EXISTS dom_harvests_image_blob ON dom_harvests (image_blob);
-- A tsvector has an upper limit, and a page of the web has none.
CREATE INDEX IF NOT EXISTS dom_harvests_words ON dom_harvests
    USING gin (to_tsvector('simple', coalesce(title, '') || ' ' || left(text, 100000)));

-- The vision tokens of one page. compression_ratio and byte_ratio are two things: see each.
CREATE TABLE IF NOT EXISTS dom_visual_compressions (
    id                uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    dom_id            text        NOT NULL,              -- of its harvest; of a file: the caller's own, else its job's id
    harvest_id        uuid        REFERENCES dom_harvests ON DELETE CASCADE,  -- null for a file
    job_id            uuid        NOT NULL,
    page_no           integer     NOT NULL CHECK (page_no >= 1),
    visual_tokens     bytea       NOT NULL,              -- a container: workers/visual
    format            text        NOT NULL,              -- of the vision tokens in it: bf16, int8, int4
    mode              text        NOT NULL,
    model             text        NOT NULL,
    revision          text        NOT NULL,              -- of the engine that encoded them
    vision_tokens     integer     NOT NULL,              -- that a decoder is given
    text_tokens       integer,                           -- of the page's text by the model's tokenizer; null: unknown
    compression_ratio double precision,                  -- text_tokens / vision_tokens
    original_size     bigint      NOT NULL,              -- bytes of the source; of several pages, this one's share
    compressed_size   bigint      NOT NULL,              -- bytes of visual_tokens
    byte_ratio        double precision NOT NULL,         -- compressed_size / original_size
    quality           real,                              -- 1 - character error rate when decoded; null: not measured
    width             integer     NOT NULL,              -- pixels of the page's image
    height            integer     NOT NULL,
    offset_y          integer,                           -- where the page begins in the harvest's screenshot
    metadata          jsonb       NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (job_id, page_no)
);

CREATE INDEX IF NOT EXISTS dom_visual_compressions_dom ON dom_visual_compressions (dom_id, created_at DESC);
CREATE INDEX IF NOT EXISTS dom_visual_compressions_harvest ON dom_visual_compressions (harvest_id);
CREATE INDEX IF NOT EXISTS dom_visual_compressions_day ON dom_visual_compressions
    (cast(created_at AT TIME ZONE 'UTC' AS date));

-- What a crawler found at a URL.
CREATE TABLE IF NOT EXISTS crawled_pages_visual (
    id                uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    url               text        NOT NULL,
    crawl_session_id  text,                              -- the crawler's own
    job_id            uuid        NOT NULL UNIQUE,
    harvest_id        uuid        NOT NULL REFERENCES dom_harvests ON DELETE CASCADE,
    language          text,                              -- ISO 639-1; null: too little text to tell
    layout_type       text        NOT NULL,              -- article, listing, table, form, gallery, other
    extracted_content jsonb       NOT NULL,              -- {title, description, headings, links, text, markdown}
    crawled_at        timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS crawled_pages_visual_newest ON crawled_pages_visual (crawled_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS crawled_pages_visual_session ON crawled_pages_visual
    (crawl_session_id, crawled_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS crawled_pages_visual_url ON crawled_pages_visual (url, crawled_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS crawled_pages_visual_harvest ON crawled_pages_visual (harvest_id);

-- Rolled up from the jobs that ended, again and again: a day's rows always equal a recount.
CREATE TABLE IF NOT EXISTS ocr_processing_stats (
    date                  date    NOT NULL,              -- UTC, on which the jobs ended
    process_type          text    NOT NULL CHECK (process_type IN ('dom', 'crawler', 'manual')),
    documents_processed   integer NOT NULL,              -- jobs that succeeded or failed
    total_pages           bigint  NOT NULL,              -- that succeeded
    avg_compression_ratio double precision,              -- of their compressed pages; null: none
    total_processing_time bigint  NOT NULL,              -- milliseconds from a job's start to its end, summed
    gpu_utilized          boolean NOT NULL,              -- whether a page of them was on a GPU
    success_rate          double precision NOT NULL,     -- jobs that succeeded / documents_processed
    PRIMARY KEY (date, process_type)
);

CREATE OR REPLACE VIEW compression_analytics AS
SELECT cast(created_at AT TIME ZONE 'UTC' AS date) AS date,
       count(*) AS total_compressions,
       avg(compression_ratio) AS avg_ratio,
       max(compression_ratio) AS max_ratio,
       sum(original_size - compressed_size) AS total_savings,      -- bytes; negative where tokens need more
       avg(1 - byte_ratio) AS avg_efficiency                       -- share of the source's bytes that is saved
  FROM dom_visual_compressions
 GROUP BY 1;
