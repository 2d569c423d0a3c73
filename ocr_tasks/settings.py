"""Every setting of the service, read from the environment (and `.env`) in this one place."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ocr_tasks.errors import InvalidUrl
from ocr_tasks.urls import AllowList

EngineName = Literal["rapid", "deepseek", "endpoint", "nano"]
TokenEngineName = Literal["deepseek", "nano"]


def default_data_dir() -> Path:
    """Where an embedded stack keeps its data: a system folder for root, else the user's data folder (XDG)."""
    if os.geteuid() == 0:
        return Path("/var/lib/lightdom-ocr")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "lightdom-ocr"


def _env(name: str) -> AliasChoices:
    return AliasChoices(name)


class Settings(BaseSettings):
    """Frozen; built once a process by `get_settings()`, passed on from there."""

    model_config = SettingsConfigDict(
        env_prefix="OCR_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # a URL holds a password
    )

    # -- servers
    database_url: str = Field(
        "postgresql://localhost:5432/lightdom",
        validation_alias=_env("DATABASE_URL"),
        description="Postgres. `lightdom-ocr up` starts one of its own when this is not set.",
    )
    db_schema: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")] = Field(
        "ocr", description="Postgres schema that holds this service's tables."
    )
    redis_url: str | None = Field(
        None,
        validation_alias=_env("REDIS_URL"),
        description="Redis, as one URL; wins over REDIS_HOST and REDIS_PORT. `up` starts one if none is set.",
    )
    redis_host: str = Field("localhost", validation_alias=_env("REDIS_HOST"), description="Redis host.")
    redis_port: int = Field(6379, validation_alias=_env("REDIS_PORT"), description="Redis port.")

    postgres_bin: str | None = Field(
        None, description="Folder with `initdb` and `postgres` for an embedded Postgres. Unset: the first that runs."
    )
    redis_server: str | None = Field(
        None, description="Path of `redis-server` for an embedded Redis. Unset: the first that runs."
    )

    # -- storage
    data_dir: Path = Field(
        default_factory=default_data_dir, description="Folder of an embedded stack (`lightdom-ocr up`)."
    )
    blob_url: str | None = Field(
        None,
        description="Blob store as an fsspec URL (`file:///data/blobs`, `s3://bucket/prefix`); "
        "all nodes must see the same one. Unset: the folder `blobs` in OCR_DATA_DIR.",
    )
    retention_days: float = Field(30, gt=0, description="Days that a finished job's result and pages are kept.")
    blob_grace_h: float = Field(
        24, gt=0, description="Hours that an unreferenced blob is left alone before it is deleted."
    )

    # -- engines
    engine: EngineName = Field("rapid", description="Engine that a node serves and that jobs go to.")
    token_engine: TokenEngineName | None = Field(
        None,
        description="Engine for jobs that ask for vision tokens while OCR_ENGINE cannot make them: `deepseek`, or "
        "`nano`, a small demonstration model. Unset: such jobs are refused; `up` takes nano where it can run and reads "
        "well.",
    )
    batch_size: int = Field(
        64,
        gt=0,
        validation_alias=_env("DEEPSEEK_OCR_BATCH_SIZE"),
        description="Cap on the pages an engine reads at once.",
    )
    engine_threads: int | None = Field(
        None,
        gt=0,
        description="Task threads of an engine node. Unset: 64, or three times the engine's capacity if that is more.",
    )
    cpu_threads: int | None = Field(None, gt=0, description="CPU threads an engine may use. Unset: all cores.")
    model_path: str = Field(
        "deepseek-ai/DeepSeek-OCR",
        validation_alias=_env("DEEPSEEK_OCR_MODEL_PATH"),
        description="Checkpoint that `deepseek` serves: a folder, a hub id that `model fetch` has fetched, or `nano`.",
    )
    model_revision: str | None = Field(
        None, description="Revision (commit) of a hub id. Unset: the one this version was written against."
    )
    gpu_enabled: bool = Field(
        True,
        validation_alias=_env("DEEPSEEK_OCR_GPU_ENABLED"),
        description="Whether `deepseek` uses CUDA where there is a device; `false` keeps it on the CPU.",
    )
    endpoint: str | None = Field(
        None,
        validation_alias=_env("DEEPSEEK_OCR_ENDPOINT"),
        description="Base URL of the OpenAI-compatible server that `endpoint` uses, such as `http://host:8000/v1`.",
    )
    api_key: SecretStr | None = Field(
        None, validation_alias=_env("DEEPSEEK_OCR_API_KEY"), description="Key for that server, sent as a bearer token."
    )
    endpoint_model: str = Field("deepseek-ai/DeepSeek-OCR", description="Name of the model on that server.")
    compression_ratio: float = Field(
        10,
        gt=0,
        validation_alias=_env("DEEPSEEK_OCR_COMPRESSION_RATIO"),
        description="Default target for text tokens per vision token, for engines that encode.",
    )

    # -- browser
    browser_path: str | None = Field(
        None, description="Chromium that renders pages. Unset: `chromium-headless-shell` or `chromium` on PATH."
    )
    chromedriver_path: str | None = Field(None, description="`chromedriver` of that Chromium. Unset: the one on PATH.")
    browser_renders: int = Field(200, gt=0, description="Renders after which a browser is replaced by a new one.")
    browser_memory_mb: int = Field(
        3072,
        ge=512,
        description="Memory that a browser with all its processes may use, in MiB; a page that takes more fails.",
    )
    browser_capture_s: float = Field(
        60, gt=0, description="Seconds a render may take beyond its own `timeoutMs` before its browser is killed."
    )
    browser_max_height: int = Field(
        30_000, ge=1000, description="CSS pixels of a page's height that a screenshot shows; the rest is cut off."
    )
    # -- URLs
    url_allow: str | None = Field(
        None,
        description="Comma-separated `host[:port]` that URLs may lead to whatever their addresses, such as "
        "`intranet,10.0.0.5:8443,[::1]:8080`: hosts as URLs name them. Without a port: all but the service's own "
        "(Postgres, Redis, OCR_PORT) and those of other protocols.",
    )
    url_timeout_s: float = Field(60, gt=0, description="Seconds that downloading a URL may take, redirects included.")
    render_max_mb: int = Field(256, gt=0, description="Most that one page may load while it is rendered, in MiB.")

    # -- limits
    max_pages: int = Field(
        1000, gt=0, validation_alias=_env("DEEPSEEK_OCR_MAX_PAGES"), description="Pages a job may read."
    )
    max_upload_mb: int = Field(512, gt=0, description="Largest request body, in MiB.")
    max_page_mpx: float = Field(100, gt=0, description="Largest page image, in megapixels.")
    pdf_dpi: int = Field(
        200, ge=36, le=1200, description="Resolution at which PDF pages are rasterised, in dots per inch."
    )
    window_factor: int = Field(4, gt=0, description="Pages a job may have in flight, per page of live engine capacity.")
    range_pages: int = Field(16, gt=0, description="Most pages that one preparing task rasterises.")

    # -- time
    lease_s: float = Field(30, gt=0, description="Seconds a worker's claim on a page lasts unless renewed.")
    page_timeout_s: float = Field(600, gt=0, description="Seconds a page may stay in an engine.")
    step_timeout_s: float = Field(
        300, gt=0, description="Seconds one engine step may take before the node gives itself up."
    )
    prepare_timeout_s: float = Field(120, gt=0, description="Seconds one preparing or finishing task may take.")
    prepare_memory_mb: int = Field(2048, gt=0, description="Memory that one parsing process may use, in MiB.")
    page_failures: int = Field(3, gt=0, description="Failures of its own after which a page is given up.")
    max_losses: int = Field(
        20, gt=0, description="Deaths of workers that held it after which a page is given up, whoever was to blame."
    )
    reconcile_s: float = Field(2, gt=0, description="Seconds between two passes of the reconciler.")
    resend_s: float = Field(
        5, gt=0, description="Seconds after which a lost message is first sent again; doubles each time."
    )
    stop_grace_s: float = Field(8, ge=0, description="Seconds a stopping node may use to end the pages in its engine.")

    # -- web
    host: str = Field("127.0.0.1", description="Address that `lightdom-ocr up` listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port that `lightdom-ocr up` listens on.")
    default_wait_s: float = Field(
        0, ge=0, description="Seconds a submit waits for its result when the caller does not say."
    )
    max_wait_s: float = Field(60, ge=0, description="Longest wait that a caller may ask for, in seconds.")
    max_waiters: int = Field(
        8, ge=0, description="Callers of one web process that may wait or stream at the same time."
    )
    server_url: str = Field("http://127.0.0.1:8080", description="Where the command line finds the service.")

    # -- logs
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")

    @field_validator("token_engine", mode="before")
    @classmethod
    def _none_for_nothing(cls, name: str | None) -> str | None:
        return name or None

    @field_validator("database_url")
    @classmethod
    def _driver(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if scheme.split("+")[0] not in ("postgresql", "postgres") or not separator:
            raise ValueError("DATABASE_URL must start with postgresql://")
        return f"postgresql://{rest}"

    @field_validator("url_allow")
    @classmethod
    def _hosts(cls, hosts: str | None) -> str | None:
        try:
            AllowList.parse(hosts)
        except InvalidUrl as error:
            raise ValueError(error.detail) from None
        return hosts

    @property
    def broker_url(self) -> str:
        return self.redis_url or f"redis://{self.redis_host}:{self.redis_port}/0"

    @property
    def blobs_url(self) -> str:
        return self.blob_url or (self.data_dir / "blobs").absolute().as_uri()

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * 1024 * 1024

    @property
    def render_max_bytes(self) -> int:
        return self.render_max_mb * 1024 * 1024

    @property
    def open_hosts(self) -> AllowList:
        """What OCR_URL_ALLOW opens."""
        own = _ports(self.database_url, 5432) | _ports(self.broker_url, 6379) | {self.port}
        return AllowList.parse(self.url_allow, closed=own)

    @property
    def max_page_pixels(self) -> int:
        return int(self.max_page_mpx * 1_000_000)


def _ports(url: str, default: int) -> frozenset[int]:
    """The ports of a server's URL, which may name several hosts."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    ports = [re.search(r":([0-9]+)$", host) for host in hosts]
    return frozenset(int(port[1]) if port else default for port in ports)


class SettingsError(Exception):
    """The environment sets something that cannot be; says what, and never to which value."""


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process; raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors(include_input=False)]
        raise SettingsError("; ".join(wrong)) from None


def environment_name(field: str) -> str:
    """The environment variable that sets a field of `Settings`."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"OCR_{field.upper()}"
